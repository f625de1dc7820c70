//! The visitors of the dashboard.

use wfe::operator::Role;

/// A person or a program that may look at the dashboard: a name, which stands in the records of actions, and a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    actor: String,
    role: Role,
}

impl Visitor {
    /// A visitor with this name and role.
    pub fn new(actor: impl Into<String>, role: Role) -> Self {
        Self { actor: actor.into(), role }
    }

    /// The name.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// What the visitor may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// A visitor on this machine.
    pub(crate) fn local() -> Self {
        Self::new("local", Role::Operator)
    }

    pub(crate) fn nobody() -> Self {
        Self::new("nobody", Role::Viewer)
    }
}

/// A secret by which a person or a program is known.
#[derive(Clone)]
pub struct Token {
    secret: String,
    visitor: Visitor,
}

impl Token {
    /// The shortest secret, in bytes.
    pub const MIN: usize = 16;

    /// A token of this visitor. `None` means that the secret is shorter than [`MIN`](Self::MIN) bytes, or has
    /// other characters than visible ones of ASCII.
    pub fn new(secret: impl Into<String>, visitor: Visitor) -> Option<Self> {
        let secret = secret.into();
        let fits = secret.len() >= Self::MIN && secret.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then_some(Self { secret, visitor })
    }

    /// The visitor, if this is the secret. It takes as long for every secret of the same length.
    pub(crate) fn visitor(&self, secret: &str) -> Option<&Visitor> {
        same(&self.secret, secret).then_some(&self.visitor)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("visitor", &self.visitor).finish_non_exhaustive()
    }
}

/// Whether two secrets are the same. The time does not tell where they differ.
pub(super) fn same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
    a.len() == b.len() && differ == 0
}
