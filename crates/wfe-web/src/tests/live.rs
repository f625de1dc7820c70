//! Open pages, over a socket, while another store writes the same file.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wfe::{Operator, operator::NewInstance, sqlite::SqliteStore};

use crate::{Dashboard, app::App, routes};

async fn serve(store: SqliteStore) -> (App, SocketAddr, tokio::task::JoinHandle<()>) {
    let app = Dashboard::of(Operator::new(store).unwrap()).into_app();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = routes::router(&app).into_make_service_with_connect_info::<SocketAddr>();
    (app, address, tokio::spawn(async move { axum::serve(listener, service).await.unwrap() }))
}

/// An open page.
struct Open(TcpStream, String);

impl Open {
    async fn new(address: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(stream, String::new())
    }

    /// Reads until the text has come.
    async fn until(&mut self, text: &str) {
        let read = async {
            let mut bytes = vec![0; 64 * 1024];
            while !self.1.contains(text) {
                let n = self.0.read(&mut bytes).await.unwrap();
                assert!(n > 0, "the connection ended without {text:?}: {}", self.1);
                self.1.push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(30), read).await;
        assert!(done.is_ok(), "no {text:?} in {}", self.1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_page_shows_what_another_store_writes_and_nothing_is_watched_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wfe.db");
    let store = SqliteStore::file(&path).open().await.unwrap();
    let (app, address, served) = serve(store).await;
    assert!(!app.hub.is_watching());
    let mut open = Open::new(address, "/live/instances").await;
    open.until("No instance is here yet.").await;
    assert!(app.hub.is_watching());
    let other = SqliteStore::file(&path).open().await.unwrap();
    let operator = Operator::new(other).unwrap();
    operator.start(NewInstance::new("order", json!(1)).version(1).reference("order-17")).await.unwrap();
    open.until("order-17").await;
    assert!(open.1.contains("id: ") && open.1.contains("<title>Instances"), "{}", open.1);
    drop(open);
    let unwatched = async {
        while app.hub.is_watching() {
            // The server sees the end of the connection when it writes to it, which it does with every change.
            operator.start(NewInstance::new("order", json!(1)).version(1)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), unwatched).await.is_ok(), "still watched");
    served.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_pages_may_be_open_and_no_more() {
    let store = SqliteStore::new(":memory:").await.unwrap();
    let (_, address, served) = serve(store).await;
    let mut all = Vec::new();
    for _ in 0..32 {
        let mut open = Open::new(address, "/live/instances").await;
        open.until("No instance is here yet.").await;
        all.push(open);
    }
    let mut more = Open::new(address, "/live/instances").await;
    more.until("503").await;
    served.abort();
}
