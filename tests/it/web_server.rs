//! A real HTTP server of a test's own, on a port of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// With what follows the question mark.
    pub(crate) path: String,
    /// By their names in small letters.
    pub(crate) headers: HashMap<String, String>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Bytes after which the connection is closed, whatever was promised.
    pub(crate) cut_after: Option<usize>,
}

impl Response {
    pub(crate) fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut_after: None }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.cut_after = Some(after);
        self
    }
}

pub(crate) struct Server {
    pub(crate) base: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` is told how many requests for that path came before, and the server's own address.
    pub(crate) fn start(
        answer: impl Fn(&Request, usize, &str) -> Response + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::<Request>::new()));
        let (log, own) = (Arc::clone(&seen), base.clone());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(first)) = lines.next() else { continue };
                let path = first.split_whitespace().nth(1).unwrap_or_default().to_owned();
                let mut request = Request { path, ..Request::default() };
                for line in lines.map_while(Result::ok) {
                    let Some((name, value)) = line.split_once(": ") else { break };
                    request.headers.insert(name.to_ascii_lowercase(), value.to_owned());
                }
                let before = log.lock().unwrap().iter().filter(|r| r.path == request.path).count();
                log.lock().unwrap().push(request.clone());
                let response = answer(&request, before, &own);
                let mut head = format!(
                    "HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n",
                    response.status,
                    response.body.len()
                );
                for (name, value) in &response.headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                let sent = response.cut_after.unwrap_or(response.body.len());
                // Whoever asked may be gone.
                let _ = stream.write_all(format!("{head}\r\n").as_bytes());
                let _ = stream.write_all(&response.body[..sent]);
            }
        });
        Self { base, seen }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}
