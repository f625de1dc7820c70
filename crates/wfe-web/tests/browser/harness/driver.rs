//! The program that drives the browser, on a port that it chooses.

use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

/// Names of the browser, as Debian, Ubuntu and its vendor call it.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A running chromedriver. It ends when it is dropped.
pub struct Driver {
    process: Child,
    url: String,
    browser: PathBuf,
}

impl Driver {
    /// Starts chromedriver. `None` if chromedriver or the browser is not installed.
    pub fn start() -> Option<Self> {
        let driver = installed("chromedriver")?;
        let browser = BROWSERS.into_iter().find_map(installed)?;
        let mut process = Command::new(driver)
            .arg("--port=0")
            // The browser's zone: neither UTC nor that of the machine.
            .env("TZ", "Europe/Berlin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.by_ref().find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').parse::<u16>().unwrap())
        });
        // What it says later is of no interest, but it has to be able to say it.
        thread::spawn(move || lines.for_each(drop));
        let url = format!("http://127.0.0.1:{}", port.unwrap());
        Some(Self { process, url, browser })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The path of the browser.
    pub fn browser(&self) -> &str {
        self.browser.to_str().unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}
