use serde::{Deserialize, Serialize};
use wfe::{
    Result, WfeError,
    definition::{Definition, IntoStep, Main, OutputSet, Returns, Sequence, WorkflowName, task},
    error::NoEffectReason,
    host::Requested,
    steps::StepError,
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{
    FinalState, TestHost,
    conformance::InFile,
    crash::{Effects, Life, at_every_commit},
};

/// What the steps wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub words: Vec<String>,
    pub n: u32,
}

/// A step with an effect in the world outside; it writes this word.
pub fn act(effects: &Effects, word: &'static str) -> Sequence<Line, Main, Effects, OutputSet> {
    task::<Line>()
        .with(effects.clone())
        .call(|ctx, _| {
            ctx.app.happen(ctx);
            Ok(())
        })
        .output(move |(), line| {
            line.words.push(word.to_owned());
            line.n += 1;
        })
}

/// As [`act`], with what undoes it.
pub fn undoable(effects: &Effects, word: &'static str, undo: &'static str) -> impl IntoStep<Line> {
    act(effects, word).compensate_with(|b| b.step(undo, act(effects, undo)))
}

/// A step that fails so often.
pub fn flaky(effects: &Effects, failures: u32) -> impl IntoStep<Line, Left = Returns<()>> {
    task::<Line>().with(effects.clone()).call(move |ctx, _| {
        if ctx.attempt() <= failures {
            return Err(StepError::retryable("not yet"));
        }
        ctx.app.happen(ctx);
        Ok(())
    })
}

/// A host in one life of a story, and the instance that the story is about.
pub async fn begin<const N: usize>(
    life: &Life,
    definitions: [Definition<Line>; N],
) -> Result<(TestHost, String)> {
    let first = WorkflowName::named(definitions[0].id().to_owned());
    let mut builder = TestHost::builder_shared(life.store.clone(), life.clock.clone());
    for definition in definitions {
        builder = builder.define(definition);
    }
    let host = builder.start().await?;
    let id = host.workflow(first).start(&Line::default()).reference("it").await?.instance.into_id();
    Ok((host, id))
}

/// A story of an instance that runs to its end by itself.
pub fn runs_alike<const N: usize>(definitions: impl Fn(&Effects) -> [Definition<Line>; N]) {
    dies_everywhere(|life| {
        let definitions = definitions(&life.effects);
        async move {
            let (host, id) = begin(&life, definitions).await?;
            host.run_to_end::<serde_json::Value>(&id).await?;
            host.final_state(&id).await
        }
    });
}

fn file() -> InFile {
    InFile::new(|path, clock| SqlitePersistenceProvider::file(path).clock(clock).open())
}

pub fn dies_everywhere<F: Future<Output = Result<FinalState>>>(story: impl Fn(Life) -> F) {
    let commits = at_every_commit(&file(), &story).unwrap();
    assert!(commits > 2, "{commits}");
    println!("{commits} commits to die after");
}

/// The answer to a request that an earlier life may have made already: the instance may have ended by it.
pub fn unless_ended(requested: Result<Requested>) -> Result<()> {
    match requested {
        Ok(_) | Err(WfeError::NoEffect { reason: NoEffectReason::Ended(_), .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
