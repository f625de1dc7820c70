use serde::{Deserialize, Serialize};
use wfe::{
    Result, StartOptions,
    definition::{Definition, Inline, Item, Sequence, Task, inline},
    steps::{Ctx, StepError},
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

pub type Body<I = ()> = Sequence<Line, I>;
pub type Plain<R, I = ()> = Task<R, Line, I, Inline<R, Line, I>>;

/// A step with an effect in the world outside; it writes this word.
pub fn act<I: Item>(effects: &Effects, word: &'static str) -> Plain<(), I> {
    let effects = effects.clone();
    inline(move |ctx: Ctx, _| {
        let effects = effects.clone();
        async move {
            effects.happen(&ctx);
            Ok(())
        }
    })
    .output(move |(), line: &mut Line| {
        line.words.push(word.to_owned());
        line.n += 1;
    })
}

/// As [`act`], with what undoes it.
pub fn undoable<I: Item>(
    body: Body<I>,
    effects: &Effects,
    word: &'static str,
    undo: &'static str,
) -> Body<I> {
    body.then(word, act(effects, word)).compensate_with(|b| b.then(undo, act(effects, undo)))
}

/// A step that fails so often.
pub fn flaky<I: Item>(effects: &Effects, failures: u32) -> Plain<(), I> {
    let effects = effects.clone();
    inline(move |ctx: Ctx, _| {
        let effects = effects.clone();
        async move {
            if ctx.attempt() <= failures {
                return Err(StepError::retryable("not yet"));
            }
            effects.happen(&ctx);
            Ok(())
        }
    })
}

/// A host in one life of a story, and the instance that the story is about.
pub async fn begin<const N: usize>(life: &Life, definitions: [Definition; N]) -> Result<(TestHost, String)> {
    let first = definitions[0].id().to_owned();
    let mut builder = TestHost::builder_shared(life.store.clone(), life.clock.clone());
    for definition in definitions {
        builder = builder.define(definition);
    }
    let host = builder.start().await?;
    let options = StartOptions { reference: Some("it".to_owned()), ..StartOptions::default() };
    let id = host.start_workflow_with(&first, &Line::default(), options).await?;
    Ok((host, id))
}

/// A story of an instance that runs to its end by itself.
pub fn runs_alike<const N: usize>(definitions: impl Fn(&Effects) -> [Definition; N]) {
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
