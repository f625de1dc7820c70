//! The field in the header: an id, a reference or a name leads to its instance, everything else is searched for.

use wfe::WfeError;

use crate::{
    ask::{Fields, segment},
    filter::Filter,
    reply::Reply,
    routes::{Group, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: None,
    routes: &[Route::page("/find", |ask| {
        Box::pin(async move {
            let text = ask.query.get("q").unwrap_or("").trim();
            if text.is_empty() {
                return Ok(Reply::See(ask.to("instances")));
            }
            match ask.operator.resolve(text).await {
                Ok(id) => return Ok(Reply::See(ask.to(&format!("instances/{}", segment(&id))))),
                Err(WfeError::WorkflowNotFound(_) | WfeError::Ambiguous { .. } | WfeError::Invalid(_)) => {}
                Err(error) => return Err(error.into()),
            }
            // References come first: they are found at once, and by their beginnings.
            let reference = Filter(vec![format!("reference:{text}*")]);
            let known = ask.operator.list(&reference.query(ask.now)?, None, 1).await?;
            let filter = if known.rows.is_empty() {
                Filter::of(&Fields(vec![("f".to_owned(), text.to_owned())]))
            } else {
                reference
            };
            Ok(Reply::See(ask.to(&format!("instances{}", filter.fields().link()))))
        })
    })
    .still()],
};
