use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use tokio::net::TcpListener;
use wfe::operator::Role;
use wfe_web::{Dashboard, SignIn, Token, Visitor};

use crate::{
    app::App,
    args::DashboardArgs,
    failure::{Exit, Failure, Result},
    output::{note, print},
};

pub(crate) async fn dashboard(app: &App, args: &DashboardArgs) -> Result<Exit> {
    let most = if app.global.read_only { Role::Viewer } else { Role::Admin };
    let tokens = match &args.token_file {
        Some(file) => tokens(file, most)?,
        None => Vec::new(),
    };
    let session = app.act(None).await?;
    let address = SocketAddr::new(args.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), args.port);
    let unusable =
        |error: std::io::Error| Failure::new(Exit::Unusable, format!("cannot serve on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let door = SignIn::new(tokens);
    let code = door.code(Visitor::new(app.actor(), most));
    let title =
        app.global.db.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let pages = Dashboard::of(session.operator.clone()).hosts(&args.host).sign_in(door);
    let pages = match title {
        Some(title) => pages.title(title),
        None => pages,
    };
    print(&format!("http://{address}/login?code={code}\n"))?;
    if app.out.is_for_people() {
        note("Open this address in a browser: it is good once. Ctrl-C ends the pages.");
    }
    let served =
        axum::serve(listener, pages.into_router().into_make_service_with_connect_info::<SocketAddr>());
    let over = async {
        match args.time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = async { served.await } => ended.map_err(unusable),
        () = app.interrupt.wait() => Ok(()),
        () = over => Ok(()),
    };
    session.close().await;
    ended.map(|()| Exit::Done)
}

/// Reads the file of tokens. No token gives more than the role `most`.
fn tokens(file: &Path, most: Role) -> Result<Vec<Token>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read the tokens in {}: {error}", file.display())))?;
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let token = match *words {
            [role, name, secret] => {
                role_of(role).and_then(|role| Token::new(secret, Visitor::new(name, role.min(most))))
            }
            _ => None,
        };
        // The line is not shown: it may be a secret.
        let wrong = || {
            let (file, number) = (file.display(), number + 1);
            Failure::usage(format!(
                "{file}, line {number}: write ROLE NAME SECRET, with viewer, operator or admin, and a secret of at least \
                 {} visible characters",
                Token::MIN
            ))
        };
        tokens.push(token.ok_or_else(wrong)?);
    }
    if tokens.is_empty() {
        return Err(Failure::usage(format!(
            "{} has no token: write lines of ROLE NAME SECRET",
            file.display()
        )));
    }
    Ok(tokens)
}

fn role_of(word: &str) -> Option<Role> {
    [Role::Viewer, Role::Operator, Role::Admin].into_iter().find(|role| role.to_string() == word)
}
