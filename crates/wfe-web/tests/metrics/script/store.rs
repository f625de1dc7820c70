//! What concerns the store.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, Executor};
use wfe::{
    WfeError, WorkflowHost,
    clock::Clock,
    traits::{CheckpointMode, PersistenceProvider, WorkflowRepository},
};

use super::{Script, holds, nothing, open};
use crate::{same, scrape::Scrape};

impl Script {
    pub async fn reads(&mut self) {
        let id = self.run("plain").await;
        let other = open(&self.path, &self.clock).await;
        let counts = async || {
            let now = self.scrape().await;
            let cache = |what| now.get(&format!("wfe_store_cache_{what}_total"), &[]);
            (cache("hits"), cache("misses"), now.get("wfe_store_reader_seconds_count", &[]))
        };
        let (hits, misses, reads) = counts().await;
        other.get_workflow_instance(&id).await.unwrap();
        other.get_workflow_instance(&id).await.unwrap();
        let (hits_now, misses_now, reads_now) = counts().await;
        assert_eq!((hits_now - hits, misses_now - misses), (1.0, 1.0));
        assert!(reads_now > reads);
        other.close().await;
    }

    pub async fn takeovers(&mut self) {
        let by = |now: &Scrape| now.by("wfe_takeovers_total", "reason");
        let other =
            WorkflowHost::builder(open(&self.path, &self.clock).await).clock(self.clock.clone()).build();
        other.register_any(holds("foreign", &self.go, &self.began)).unwrap();
        other.start().await.unwrap();
        other.start_workflow("foreign", &()).await.unwrap();
        self.has_begun().await;
        drop(other);
        self.host.host().register_any(holds("foreign", &self.go, &self.began)).unwrap();
        // The other host ends a moment after it was dropped.
        while tokio::time::timeout(Duration::from_millis(50), self.began.notified()).await.is_err() {
            self.register_another();
        }
        self.go.notify_one();
        self.idle().await;
        assert_eq!(by(&self.scrape().await), [("dead".to_owned(), 1.0), ("frozen".to_owned(), 0.0)].into());

        let provider = Arc::new(open(&self.path, &self.clock).await);
        let other = WorkflowHost::builder_shared(provider.clone()).clock(self.clock.clone()).build();
        other.register_any(nothing("frozen")).unwrap();
        other.start_workflow("frozen", &()).await.unwrap();
        let steps = provider.clone().step_store().unwrap();
        let owner = steps.register().await.unwrap();
        let claimed = steps.claim(&owner, &[("frozen".to_owned(), 1)], self.clock.now(), 1).await.unwrap();
        assert_eq!(claimed.len(), 1);
        self.host.host().register_any(nothing("frozen")).unwrap();
        for _ in 0..60 {
            self.clock.advance(Duration::from_secs(1));
            self.look().await;
        }
        let now = self.scrape().await;
        assert_eq!(by(&now), [("dead".to_owned(), 1.0), ("frozen".to_owned(), 1.0)].into());
        assert_eq!(now.get("wfe_owners", &[]), 2.0);
        assert_eq!(now.get("wfe_fences_lost_total", &[]), 0.0);
    }

    pub async fn lost_ownership(&mut self) {
        let id = self.begin("holds").await;
        self.has_begun().await;
        let mut connection = self.connection().await;
        let stolen =
            sqlx::query("UPDATE workflows SET owner = NULL, fence = fence + 1 WHERE id = ?").bind(&id);
        assert_eq!(stolen.execute(&mut connection).await.unwrap().rows_affected(), 1);
        connection.close().await.unwrap();
        self.go.notify_one();
        // The host claims it again, runs the step again, and finishes it.
        self.host.host().register_any(nothing("look")).unwrap();
        self.has_begun().await;
        self.go.notify_one();
        self.idle().await;
        assert_eq!(self.scrape().await.get("wfe_fences_lost_total", &[]), 1.0);
    }

    pub async fn commits(&mut self) {
        self.idle().await;
        let (before, (transactions, _)) = (self.scrape().await, self.store.written());
        for _ in 0..3 {
            self.run("plain").await;
        }
        let (now, (since, _)) = (self.scrape().await, self.store.written());
        let grown = |name: &str| now.get(name, &[]) - before.get(name, &[]);
        #[expect(clippy::cast_precision_loss, reason = "a few transactions")]
        let transactions = (since - transactions) as f64;
        assert!(transactions >= 6.0, "each has a start and an end: {transactions}");
        same(grown("wfe_commit_batch_requests_count"), transactions, "batches");
        same(grown("wfe_commit_sync_seconds_count"), transactions, "syncs");
        same(grown("wfe_commit_seconds_count"), grown("wfe_commit_batch_requests_sum"), "requests");
        same(grown("wfe_store_turn_wait_seconds_count"), transactions, "turns");
        let sync = grown("wfe_commit_sync_seconds_sum");
        assert!(sync > 0.0 && sync < grown("wfe_commit_seconds_sum"), "{sync}");
        same(now.get("wfe_store_queue_requests", &[]), 0.0, "queue");
        assert_eq!(now.by("wfe_commit_failures_total", "kind").values().sum::<f64>(), 0.0);
    }

    pub async fn checkpoint(&mut self) {
        let count = async || self.scrape().await.by("wfe_store_checkpoint_seconds_count", "mode");
        let (before, text) = (count().await, "x".repeat(64 << 10));
        for _ in 0..200 {
            self.host.publish_event("large", "k", &text).await.unwrap();
            if count().await != before {
                break;
            }
        }
        let grown = count().await["auto"] - before.get("auto").copied().unwrap_or(0.0);
        assert!((1.0..3.0).contains(&grown), "{grown}");
        let management = self.store.clone().management().unwrap();
        management.checkpoint(CheckpointMode::Passive).await.unwrap();
        assert_eq!(count().await["passive"], 1.0);
        self.idle().await;
    }

    pub async fn busy_store(&mut self) {
        let mut connection = self.connection().await;
        connection.execute("BEGIN IMMEDIATE").await.unwrap();
        let refused = self.host.publish_event("refused", "k", &()).await;
        assert!(matches!(refused, Err(WfeError::Busy { .. })), "{refused:?}");
        connection.execute("ROLLBACK").await.unwrap();
        connection.close().await.unwrap();
        self.idle().await;
        let now = self.scrape().await;
        let failures = now.by("wfe_commit_failures_total", "kind");
        let others = ["full", "io", "unknown"].map(|kind| failures[kind]);
        assert_eq!((others, failures.len()), ([0.0; 3], 4));
        // The host may have marked events as processed at the same time.
        assert!(failures["busy"] >= 1.0);
        assert_eq!(now.get("wfe_events_published_total", &[("event", "refused")]), 0.0);
    }
}
