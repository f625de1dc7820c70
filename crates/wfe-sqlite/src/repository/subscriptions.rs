//! Implements [`SubscriptionRepository`].

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe_core::{Kind, Result, WfeError, models::EventSubscription, traits::SubscriptionRepository};

use super::id_or_fresh;
use crate::{
    SqlitePersistenceProvider,
    codec::{self, time},
    connection::admission::Caller,
    request::{Script, Value},
    sql,
};

#[async_trait]
impl SubscriptionRepository for SqlitePersistenceProvider {
    async fn create_event_subscription(&self, subscription: &EventSubscription) -> Result<String> {
        let mut subscription = subscription.clone();
        subscription.id = id_or_fresh(&subscription.id);
        let mut script = Script::about(&subscription.id).notifying();
        add_subscriptions(&mut script, std::slice::from_ref(&subscription))?;
        self.writer.run(script).await?;
        Ok(subscription.id)
    }

    async fn get_subscriptions(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<EventSubscription>> {
        let mut script = Script::default();
        script
            .add(&sql::subscriptions::OPEN, [event_name.into(), event_key.into(), time::bound(as_of).into()]);
        self.subscriptions(script).await
    }

    async fn get_subscription(&self, subscription_id: &str) -> Result<EventSubscription> {
        let mut script = Script::default();
        script.add(&sql::subscriptions::LOAD, [subscription_id.into()]);
        let done = self.read(script).await?;
        let row =
            done.first().and_then(|done| done.rows.first()).ok_or_else(|| not_found(subscription_id))?;
        self.named(codec::subscription::decode(row))
    }

    async fn terminate_subscription(&self, subscription_id: &str) -> Result<()> {
        let mut script = Script::about(subscription_id);
        script.guard_or(&sql::subscriptions::EXISTS, [subscription_id.into()], not_found(subscription_id));
        script.add(&sql::subscriptions::TERMINATE, [subscription_id.into()]);
        self.named(self.writer.run(script).await)?;
        Ok(())
    }

    async fn get_first_open_subscription(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        let mut script = Script::default();
        script.add(
            &sql::subscriptions::FIRST_FREE,
            [event_name.into(), event_key.into(), time::bound(as_of).into(), self.now().into()],
        );
        let done = self.read(script).await?;
        let Some(row) = done.first().and_then(|done| done.rows.first()) else { return Ok(None) };
        if let Some(first) = self.sound_one(codec::subscription::decode(row))? {
            return Ok(Some(first));
        }
        // The first subscription does not decode, which is rare. So this call may read all open
        // subscriptions, and returns the oldest available one that decodes.
        let (open, now) = (self.get_subscriptions(event_name, event_key, as_of).await?, self.clock.now());
        let is_free = |wait: &EventSubscription| {
            wait.external_token.is_none() || wait.external_token_expiry.is_some_and(|expiry| expiry <= now)
        };
        Ok(open.into_iter().find(is_free))
    }

    async fn set_subscription_token(
        &self,
        subscription_id: &str,
        token: &str,
        worker_id: &str,
        expiry: DateTime<Utc>,
    ) -> Result<bool> {
        let expiry = time::nanos("a token's expiry", expiry)?;
        let mut script = Script::about(subscription_id);
        script.guard_or(&sql::subscriptions::IS_OPEN, [subscription_id.into()], not_found(subscription_id));
        let set = script.add(
            &sql::subscriptions::SET_TOKEN,
            [
                token.into(),
                worker_id.into(),
                expiry.into(),
                subscription_id.into(),
                token.into(),
                self.now().into(),
            ],
        );
        let done = self.named(self.writer.run_for(Caller::Worker, script).await)?;
        Ok(done.get(set).is_some_and(|done| done.changes > 0))
    }

    async fn clear_subscription_token(&self, subscription_id: &str, token: &str) -> Result<()> {
        let mut script = Script::about(subscription_id);
        script.guard_or(
            &sql::subscriptions::HOLDS,
            [subscription_id.into(), token.into()],
            not_found(subscription_id),
        );
        script.add(&sql::subscriptions::CLEAR_TOKEN, [subscription_id.into(), token.into()]);
        self.named(self.writer.run_for(Caller::Worker, script).await)?;
        Ok(())
    }
}

impl SqlitePersistenceProvider {
    async fn subscriptions(&self, script: Script) -> Result<Vec<EventSubscription>> {
        let done = self.read(script).await?;
        self.sound(done.iter().flat_map(|done| &done.rows).map(codec::subscription::decode))
    }
}

fn not_found(id: &str) -> WfeError {
    WfeError::SubscriptionNotFound(id.to_owned())
}

/// Adds new open subscriptions. If the oldest event that matches a new subscription was already processed,
/// the event becomes unprocessed again (the early-event rule).
pub(crate) fn add_subscriptions(script: &mut Script, subscriptions: &[EventSubscription]) -> Result<()> {
    for subscription in subscriptions {
        let id = id_or_fresh(&subscription.id);
        let columns = codec::subscription::encode(subscription, &id)?;
        add_subscription_guard(script, id);
        add_subscription_row(script, &columns, false);
        let [id, _, _, _, name, key, as_of, _, _, _, _] = columns;
        script.add(&sql::events::REVIVE_OLDEST, [name, key, as_of]);
        script.add(&sql::streams::WANT_NEXT, [id]);
    }
    Ok(())
}

/// Adds a guard, which refuses the script if a subscription already has this id.
pub(crate) fn add_subscription_guard(script: &mut Script, id: String) {
    let taken = WfeError::AlreadyExists { kind: Kind::Subscription, id: id.clone() };
    script.guard_or(&sql::subscriptions::ID_IS_FREE, [id.into()], taken);
}

/// Adds a new open subscription with these columns. `is_dated` means that the caller gave the timestamp (`as_of`) from
/// which on events match. This timestamp then applies, and not the start position of the instance, even if the
/// timestamp equals the creation time of the instance.
pub(crate) fn add_subscription_row(script: &mut Script, columns: &[Value; 11], is_dated: bool) {
    let [_, workflow, _, _, _, _, as_of, ..] = columns.clone();
    let start_position_of = if is_dated { Value::Null } else { workflow };
    script.add_with(&sql::subscriptions::INSERT, [], columns, [start_position_of, as_of]);
}
