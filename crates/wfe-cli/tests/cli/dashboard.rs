//! `wfe dashboard`: the address that it prints signs a browser in.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::store::Place;

/// What a request over a new connection is answered.
fn get(address: &str, path: &str, cookie: Option<&str>) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let cookie = cookie.map(|cookie| format!("cookie: {cookie}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{cookie}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_address_signs_a_browser_in_and_ctrl_c_ends_the_pages() {
    let place = Place::new();
    let mut child = place
        .command()
        .args(["dashboard", "--port", "0", "--read-only", "--as", "Ms Weber"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (address, code) = line.trim().strip_prefix("http://").unwrap().split_once('/').unwrap();
    assert!(get(address, "/overview", None).starts_with("HTTP/1.1 401"));
    let entered = get(address, &format!("/{code}"), None);
    assert!(entered.starts_with("HTTP/1.1 303") && entered.contains("location: ./overview"), "{entered}");
    let cookie = entered
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let page = get(address, "/overview", Some(cookie));
    assert!(page.contains("Signed in as Ms Weber, viewer") && page.contains("orders.db"), "{page}");
    assert!(get(address, &format!("/{code}"), None).starts_with("HTTP/1.1 403"), "the code is good once");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn other_machines_are_let_in_with_tokens_only() {
    let place = Place::new();
    place.wfe(["dashboard", "--bind", "0.0.0.0"]).ends(2);
    let file = place.path().join("tokens");
    for (text, says) in [
        ("", "has no token"),
        ("admin ann short", "line 1: write ROLE NAME SECRET"),
        ("# people\nboss ann 0123456789abcdef", "line 2: write ROLE NAME SECRET"),
    ] {
        std::fs::write(&file, text).unwrap();
        let ran = place.wfe(["dashboard", "--port", "0", "--token-file", "tokens", "--for", "1s"]);
        assert!(ran.code == 2 && ran.err.contains(says) && !ran.err.contains("0123456789abcdef"), "{ran:?}");
    }
    std::fs::write(&file, "admin ann 0123456789abcdef\n").unwrap();
    place
        .wfe(["dashboard", "--port", "0", "--bind", "127.0.0.1", "--token-file", "tokens", "--for", "10ms"])
        .ends(0);
}
