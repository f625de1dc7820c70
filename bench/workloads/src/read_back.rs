//! Reads back what a subject has acknowledged.

use std::{future::Future, sync::Arc};

use crate::Done;

/// How many are read at the same time.
const AT_ONCE: usize = 8;

/// Runs `check` for each of these objects of a subject, several at the same time.
pub async fn each<S, T, F>(
    subject: &Arc<S>,
    objects: impl IntoIterator<Item = T>,
    check: impl Fn(Arc<S>, T) -> F + Copy + Send + 'static,
) -> Done
where
    S: Send + Sync + 'static,
    T: Send + 'static,
    F: Future<Output = Done> + Send + 'static,
{
    let mut shares: [Vec<T>; AT_ONCE] = std::array::from_fn(|_| Vec::new());
    for (number, object) in objects.into_iter().enumerate() {
        shares[number % AT_ONCE].push(object);
    }
    let checking = shares.map(|share| {
        let subject = subject.clone();
        tokio::spawn(async move {
            for object in share {
                check(subject.clone(), object).await?;
            }
            Done::Ok(())
        })
    });
    for share in checking {
        share.await??;
    }
    Ok(())
}

/// The error that ends the benchmark: an object is stored differently from what was acknowledged.
pub fn differs(id: impl std::fmt::Display) -> Box<dyn std::error::Error + Send + Sync> {
    format!("{id} is stored differently from what was acknowledged").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_lost_write_among_many_is_an_error() {
        let stored: Arc<Vec<usize>> = Arc::new((0..100).filter(|number| *number != 57).collect());
        let check = |stored: Arc<Vec<usize>>, number: usize| async move {
            if stored.contains(&number) { Ok(()) } else { Err(differs(number)) }
        };
        assert!(each(&stored, 0..57, check).await.is_ok());
        let error = each(&stored, 0..100, check).await.unwrap_err();
        assert_eq!(error.to_string(), "57 is stored differently from what was acknowledged");
    }
}
