//! A browser with one window.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use futures_util::FutureExt;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Driver,
    axe::{self, Violation},
    commands::Command,
};

/// How long a condition may take to come true. On an idle machine most take milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(30);

/// Which of its two themes the system asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

impl fmt::Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Light => "light",
            Self::Dark => "dark",
        })
    }
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub theme: Theme,
    /// In pixels.
    pub width: u32,
}

impl View {
    pub const WIDE: Self = Self { theme: Theme::Light, width: 1280 };
    pub const NARROW: Self = Self { theme: Theme::Light, width: 380 };

    pub fn dark(self) -> Self {
        Self { theme: Theme::Dark, ..self }
    }
}

/// A browser, on pages of one server.
pub struct Browser {
    client: Client,
    base: String,
}

impl Browser {
    /// Runs a test in a browser of its own, which is closed whatever comes of the test. `base` is the address that all
    /// requests have to begin with.
    pub async fn run<F: Future<Output = ()>>(
        driver: &Driver,
        base: &str,
        scripts: bool,
        test: impl FnOnce(Self) -> F,
    ) {
        let browser = Self::open(driver, base, scripts).await;
        let client = browser.client.clone();
        let result = AssertUnwindSafe(test(browser)).catch_unwind().await;
        client.close().await.unwrap();
        if let Err(panic) = result {
            resume_unwind(panic);
        }
    }

    async fn open(driver: &Driver, base: &str, scripts: bool) -> Self {
        let blocked = 2;
        let prefs = if scripts {
            json!({})
        } else {
            json!({ "profile.managed_default_content_settings.javascript": blocked })
        };
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": driver.browser(),
                "args": [
                    "--headless",
                    // Root may not start it with its sandbox. It sees the pages of this test alone.
                    "--no-sandbox",
                    "--disable-dev-shm-usage",
                    "--disable-gpu",
                    "--hide-scrollbars",
                    "--lang=en",
                ],
                "prefs": prefs,
            },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object stands above") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(driver.url())
            .await
            .unwrap();
        let browser = Self { client, base: base.to_owned() };
        browser.view(View::WIDE).await;
        browser
    }

    /// Sets size and theme of the window. Nothing moves in it.
    pub async fn view(&self, view: View) {
        let size = json!({ "width": view.width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": view.theme.to_string() },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Sends a command of the `DevTools` protocol.
    pub async fn devtools(&self, command: &str, params: Value) -> Value {
        self.client.issue_cmd(Command::devtools(command, &params)).await.unwrap()
    }

    /// The client, for what this type does not have.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Opens a page by its path below the base, without the first `/`.
    pub async fn go(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.base)).await.unwrap();
    }

    /// The address that all requests have to begin with.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The path and query of the page, below the base.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.as_str()
            .strip_prefix(&self.base)
            .unwrap_or_else(|| panic!("{url} is not below {}", self.base))
            .to_owned()
    }

    /// Waits until something is there and returns it.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let last = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if Instant::now() > last {
                let (url, page) = (self.client.current_url().await.unwrap(), self.text("body").await);
                panic!("not seen: {what}, on {url}:\n{page}");
            }
            sleep(INTERVAL).await;
        }
    }

    /// Waits for the first element of this selector.
    pub async fn find(&self, css: &str) -> Element {
        self.until(css, async || self.client.find(Locator::Css(css)).await.ok()).await
    }

    /// All elements of this selector that are there now.
    pub async fn all(&self, css: &str) -> Vec<Element> {
        self.client.find_all(Locator::Css(css)).await.unwrap()
    }

    /// Waits until the first element of this selector contains a text.
    pub async fn sees(&self, css: &str, text: &str) {
        let what = format!("{text:?} in {css}");
        self.until(&what, async || self.text(css).await.contains(text).then_some(())).await;
    }

    /// The text of the first element of this selector that is seen, or nothing if there is none.
    pub async fn text(&self, css: &str) -> String {
        match self.client.find(Locator::Css(css)).await {
            // It may be gone by now.
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Clicks on the first element of this selector.
    pub async fn click(&self, css: &str) {
        // A page that is live may replace the element while it is clicked on.
        self.until(&format!("a click on {css}"), async || {
            self.client.find(Locator::Css(css)).await.ok()?.click().await.ok()
        })
        .await;
    }

    /// Types into a field, in place of what it has.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Evaluates a function's body in the page. It needs scripts.
    pub async fn evaluate(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// What axe-core finds.
    pub async fn violations(&self) -> Vec<String> {
        if self.evaluate("return typeof axe").await == "undefined" {
            self.client.execute(axe::SOURCE, Vec::new()).await.unwrap();
        }
        let found = self.client.execute_async(axe::RUN, Vec::new()).await.unwrap();
        let found: Vec<Violation> = serde_json::from_value(found).unwrap();
        found.iter().map(Violation::tell).collect()
    }

    /// By how many pixels the page is wider than the window.
    pub async fn overflow(&self) -> i64 {
        let script =
            "const { scrollWidth, clientWidth } = document.documentElement; return scrollWidth - clientWidth";
        self.evaluate(script).await.as_i64().unwrap()
    }

    /// What the browser complains of since this was last asked, among it the policy for content, and the requests that
    /// went elsewhere.
    pub async fn complaints(&self) -> Vec<String> {
        let console = self
            .log("browser")
            .await
            .into_iter()
            .filter(|entry| entry["level"] != "INFO" && entry["level"] != "DEBUG");
        let mut complaints: Vec<String> = console.map(|entry| text(&entry["message"])).collect();
        for entry in self.log("performance").await {
            let event: Value = serde_json::from_str(&text(&entry["message"])).unwrap();
            let event = &event["message"];
            if event["method"] == "Network.requestWillBeSent" {
                let url = text(&event["params"]["request"]["url"]);
                if !(url.starts_with(&self.base) || url.starts_with("data:")) {
                    complaints.push(format!("a request to {url}"));
                }
            }
        }
        complaints
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        match self.client.issue_cmd(Command::log(kind)).await.unwrap() {
            Value::Array(entries) => entries,
            other => panic!("no log: {other}"),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
