use std::{collections::HashMap, marker::PhantomData};

use super::{YEAR_MS, now_ms, open};
use crate::{Done, Measured, Place, Run, Workload, ability::Commands, clients, read_back};

/// `schedule`. An operation stores a command that is due in a year. All commands are read back, with their due times.
pub struct Schedule<S>(PhantomData<S>);

impl<S: Commands> Workload for Schedule<S> {
    const NAME: &'static str = "schedule";

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let place = Place::file(folder.path().join("run.db"));
        let store = open::<S>(&place).await?;
        let in_a_year = now_ms() + YEAR_MS;
        let (measured, scheduled) = clients::measure(run, |mut client| {
            let store = store.clone();
            async move {
                let mut scheduled = Vec::new();
                for count in 0.. {
                    if !client.goes_on() {
                        break;
                    }
                    let (number, due) = (client.numbered(count), in_a_year + i64::try_from(count % 1000)?);
                    if client.operation(store.schedule(number, due)).await.is_some() {
                        scheduled.push((number, due));
                    }
                }
                Ok((client, scheduled))
            }
        })
        .await?;
        store.close().await?;
        drop(store);
        let found: HashMap<u64, i64> = S::scheduled(&place)?.into_iter().collect();
        for (number, due) in scheduled.into_iter().flatten() {
            if found.get(&number) != Some(&due) {
                return Err(read_back::differs(format!("command {number}")));
            }
        }
        Ok(measured)
    }
}
