//! Fetching: a real server on this machine, and what can go wrong on the way.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::onnx_file::relu;
use super::sandbox::Sandbox;

/// What a server saw of one request.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    from: u64,
    token: Option<String>,
}

/// How a server treats a request.
#[derive(Clone, Copy)]
enum Answer {
    /// What was asked for.
    Whole,
    /// Half of what was asked for, then the connection is closed.
    Half,
    /// This status and no file.
    Status(u16),
    /// What was asked for, of another version of the file.
    Changed,
    /// The whole file as if its beginning had been asked for.
    FromTheStart,
}

/// A server of one file that understands ranges.
struct Server {
    base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// `answers[i]` is for request i; the last one is for all that come after.
    fn start(file: Vec<u8>, answers: &'static [Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = log.lock().unwrap().len();
                let answer = answers[count.min(answers.len() - 1)];
                let _ = serve(stream, &file, answer, &log);
            }
        });
        Self { base, seen }
    }

    fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    file: &[u8],
    answer: Answer,
    log: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut seen = Seen {
        path: first.split_whitespace().nth(1).unwrap_or_default().to_owned(),
        from: 0,
        token: None,
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let from = value.trim_start_matches("bytes=").trim_end_matches('-');
                seen.from = from.parse().unwrap();
            }
            "authorization" => seen.token = Some(value.to_owned()),
            _ => {}
        }
    }
    let from = usize::try_from(seen.from).unwrap();
    log.lock().unwrap().push(seen);
    if let Answer::Status(status) = answer {
        return write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
    }
    let from = if matches!(answer, Answer::FromTheStart) { 0 } else { from };
    let tag = if matches!(answer, Answer::Changed) { "v2" } else { "v1" };
    let rest = &file[from..];
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nETag: \"{tag}\"\r\nContent-Length: {}\r\n\
         Content-Range: bytes {from}-{}/{}\r\n\r\n",
        rest.len(),
        file.len() - 1,
        file.len()
    )?;
    let sent = if matches!(answer, Answer::Half) { rest.len() / 2 } else { rest.len() };
    stream.write_all(&rest[..sent])
}

fn workload(sandbox: &Sandbox, source: &str) -> String {
    let text = format!("name = \"w\"\n[model]\nsource = \"{source}\"\n[data.generated]\n");
    sandbox.write("w.toml", text).to_str().unwrap().to_owned()
}

/// Runs with a cache of its own, empty at first.
fn fetch(sandbox: &Sandbox, args: &[&str], hub: &str) -> super::sandbox::Ran {
    let mut command = sandbox.command(args);
    command.env("XDG_CACHE_HOME", sandbox.path("cache"));
    command.env("HF_ENDPOINT", hub).env("HF_TOKEN", "secret");
    command.output().unwrap().into()
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    let file = relu(&[-1, 4]);
    let server = Server::start(file.clone(), &[Answer::Half, Answer::Status(503), Answer::Whole]);
    let workload = workload(&sandbox, &format!("{}/relu.onnx", server.base));
    fetch(&sandbox, &["run", &workload, "--dry-run"], "").assert_fine();
    let from: Vec<u64> = server.requests().iter().map(|r| r.from).collect();
    let half = file.len() as u64 / 2;
    assert_eq!(from, [0, half, half]);
    assert!(server.requests().iter().all(|r| r.token.is_none()), "the hub's token stays its own");
    // What is in the cache needs no server.
    fetch(&sandbox, &["run", &workload, "--dry-run", "--offline"], "").assert_fine();
    assert_eq!(server.requests().len(), 3);
}

const NO: Answer = Answer::Status(502);

#[test]
fn a_server_that_dies_half_way_is_an_error_and_nothing_is_lost() {
    let sandbox = Sandbox::new();
    let file = relu(&[-1, 4]);
    let server = Server::start(file.clone(), &[Answer::Half, NO, NO, NO, Answer::Whole]);
    let workload = workload(&sandbox, &format!("{}/relu.onnx", server.base));
    let ran = fetch(&sandbox, &["run", &workload, "--dry-run"], "");
    ran.assert_error(&["relu.onnx", "broke off after", "502"]);
    fetch(&sandbox, &["run", &workload, "--dry-run"], "").assert_fine();
    let last = server.requests().pop().unwrap();
    assert_eq!(last.from, file.len() as u64 / 2, "the second run went on from there");
}

#[test]
fn halves_of_different_files_are_never_joined() {
    for odd in [
        &[Answer::Half, Answer::Changed, Answer::Whole],
        &[Answer::Half, Answer::FromTheStart, Answer::Whole],
    ] {
        let sandbox = Sandbox::new();
        let file = relu(&[-1, 4]);
        let server = Server::start(file.clone(), odd);
        let workload = workload(&sandbox, &format!("{}/relu.onnx", server.base));
        fetch(&sandbox, &["run", &workload, "--dry-run"], "").assert_fine();
        let from: Vec<u64> = server.requests().iter().map(|r| r.from).collect();
        assert_eq!(from, [0, file.len() as u64 / 2, 0], "it began anew");
    }
}

#[test]
fn what_is_not_there_is_said_at_once() {
    let sandbox = Sandbox::new();
    let server = Server::start(Vec::new(), &[Answer::Status(404)]);
    let workload = workload(&sandbox, &format!("{}/none.onnx", server.base));
    let ran = fetch(&sandbox, &["run", &workload, "--dry-run"], "");
    ran.assert_error(&["none.onnx", "404"]);
    assert_eq!(server.requests().len(), 1);
    let ran = fetch(&sandbox, &["run", &workload, "--dry-run", "--offline"], "");
    ran.assert_error(&["none.onnx", "--offline"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_wrong_hash_is_not_taken() {
    let sandbox = Sandbox::new();
    let server = Server::start(relu(&[-1, 4]), &[Answer::Whole]);
    let text = format!(
        "name = \"w\"\n[model]\nsource = \"{}/relu.onnx\"\nsha256 = \"00ff\"\n[data.generated]\n",
        server.base
    );
    sandbox.write("w.toml", text);
    fetch(&sandbox, &["run", "w.toml", "--dry-run"], "").assert_error(&["relu.onnx", "00ff"]);
}

#[test]
fn the_hub_is_asked_for_a_revision_with_the_users_token() {
    let sandbox = Sandbox::new();
    let server = Server::start(relu(&[-1, 4]), &[Answer::Whole]);
    let path = workload(&sandbox, "hf:org/model@abc123/onnx/relu.onnx");
    fetch(&sandbox, &["run", &path, "--dry-run"], &server.base).assert_fine();
    let seen = server.requests().pop().unwrap();
    assert_eq!(seen.path, "/org/model/resolve/abc123/onnx/relu.onnx");
    assert_eq!(seen.token.as_deref(), Some("Bearer secret"));
    let refused = Server::start(Vec::new(), &[Answer::Status(401)]);
    let path = workload(&sandbox, "hf:org/gated@main/relu.onnx");
    let ran = fetch(&sandbox, &["run", &path, "--dry-run"], &refused.base);
    ran.assert_error(&["gated", "401", "HF_TOKEN"]);
}

#[test]
fn the_cache_is_listed_and_cleaned() {
    let sandbox = Sandbox::new();
    let server = Server::start(relu(&[-1, 4]), &[Answer::Whole]);
    let workload = workload(&sandbox, &format!("{}/relu.onnx", server.base));
    fetch(&sandbox, &["run", &workload, "--dry-run"], "").assert_fine();
    let list = || fetch(&sandbox, &["cache", "list", "--format", "json"], "").assert_fine().json();
    let entries = list()["entries"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert!(entries.iter().all(|e| e["size_bytes"].as_u64().unwrap() > 0));
    fetch(&sandbox, &["cache", "clean", "nothing-like-it"], "").assert_error(&["nothing-like-it"]);
    fetch(&sandbox, &["cache", "clean", "https"], "").assert_fine();
    assert_eq!(list()["entries"].as_array().unwrap().len(), 1);
    fetch(&sandbox, &["cache", "clean", "--all"], "").assert_fine();
    assert_eq!(list()["size_bytes"], 0);
    assert_eq!(fetch(&sandbox, &["cache", "clean"], "").code, Some(1), "everything needs a word");
}

#[test]
fn the_doctor_sees_what_is_there() {
    let sandbox = Sandbox::new();
    // The library that other tests fetch may not be there yet: it is no reason to fail.
    let checks = sandbox.run(&["doctor", "--format", "json"]).assert_fine().json();
    let checks = checks["checks"].as_array().unwrap();
    let state = |name: &str| {
        let check = checks.iter().find(|c| c["name"] == name);
        check.unwrap_or_else(|| panic!("no `{name}` in {checks:?}"))["state"].clone()
    };
    assert_eq!((state("cpu"), state("cache")), ("ok".into(), "ok".into()));
    let output = sandbox.command(&["doctor"]).env("ORT_DYLIB_PATH", "/no/lib.so").output().unwrap();
    let ran = super::sandbox::Ran::from(output);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("MISSING") && ran.stdout.contains("/no/lib.so"), "{}", ran.stdout);
}
