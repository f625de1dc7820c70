use std::marker::PhantomData;

use super::{check_instances, open, prepared, reopen};
use crate::{
    Done, Extra, Measured, Run, Workload,
    ability::DueInstances,
    clients::{self, Client},
    measured::float,
    read_back,
};

/// Instances that are due, which readers list and load.
const DUE: usize = 100;
/// Instances for which nothing is scheduled.
const OTHERS: usize = 1_000;
/// A writer's instance has so many pointers.
const POINTERS: usize = 10;

/// `mixed`. One half of the clients reads while the other half writes; a single client does both in turn. An operation is
/// either a read, which lists the 100 instances that are due and loads one of them, or a write, which persists an instance of
/// ten pointers of which one has changed. Each list is checked, each loaded instance must be the one that was requested, and
/// each written instance is read back and compared.
pub struct Mixed<S>(PhantomData<S>);

/// What a client has done.
struct Part<I> {
    /// The states in which its instance may be stored.
    written: Vec<I>,
    reads: u64,
    writes: u64,
}

impl<S: DueInstances> Workload for Mixed<S> {
    const NAME: &'static str = "mixed";

    async fn prepare(run: &Run) -> Done {
        prepared::due_among::<S>(run, DUE, OTHERS).await
    }

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let place = run.prepared().copied_into(folder.path())?;
        let (due, store) = (prepared::ids(run)?, open::<S>(&place).await?);
        let is_alone = run.clients == 1;
        let (measured, parts) = clients::measure(run, |mut client| {
            let (store, due) = (store.clone(), due.clone());
            async move {
                let mut instance = S::draft(client.numbered(0), POINTERS);
                S::schedule_at(&mut instance, None);
                store.create(&mut instance).await?;
                let mut part = Part { written: vec![instance], reads: 0, writes: 0 };
                for turn in 0_usize.. {
                    if !client.goes_on() {
                        break;
                    }
                    if (if is_alone { turn } else { client.number }) % 2 == 0 {
                        write(&mut client, &*store, &mut part).await;
                    } else if read(&mut client, &*store, &due, turn).await? {
                        part.reads += 1;
                    }
                }
                Ok((client, part))
            }
        })
        .await?;
        let store = reopen(store, &place).await?;
        let (reads, writes) = parts.iter().fold((0, 0), |(r, w), part| (r + part.reads, w + part.writes));
        check_instances(&store, parts.into_iter().map(|part| part.written)).await?;
        store.close().await?;
        let reading = 100.0 * float(reads) / float((reads + writes).max(1));
        Ok(measured.with(Extra::new("reads", reading, "%")))
    }
}

async fn write<S: DueInstances>(client: &mut Client, store: &S, part: &mut Part<S::Instance>) {
    let mut changed = part.written[0].clone();
    let pointer = usize::try_from(part.writes).unwrap_or_default() % POINTERS;
    S::set(&mut changed, pointer, part.writes + 1);
    if client.operation(store.persist(&mut changed)).await.is_some() {
        part.written = vec![changed];
        part.writes += 1;
    } else {
        part.written.push(changed);
    }
}

async fn read<S: DueInstances>(client: &mut Client, store: &S, due: &[String], turn: usize) -> Done<bool> {
    let id = &due[(client.number + turn) % due.len()];
    let answer = client.operation(async { Ok((store.due().await?, store.load(id).await?)) }).await;
    let Some((list, loaded)) = answer else { return Ok(false) };
    if list == due && S::id(&loaded) == id { Ok(true) } else { Err(read_back::differs(id)) }
}
