//! Files from the web: resumed where they broke off, whole or not at all.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cache, sha256_bytes};
use crate::error::{Error, Result};
use crate::units::Bytes;

/// One request takes at most this long; a file that takes longer is gone on with.
const ATTEMPT: Duration = Duration::from_mins(1);
/// Where a server cannot go on in the middle, one request must bring everything.
const WHOLE: Duration = Duration::from_hours(1);
/// Requests in a row that bring nothing before it is given up.
const FUTILE: u32 = 3;

/// What a server said about the file that lies beside this, half fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Half {
    /// Tells versions of the file apart: its entity tag or date.
    validator: Option<String>,
    /// Bytes of the whole file.
    total: Option<u64>,
}

/// The cached copy of `url`, fetched first if need be. `token` is sent to that host alone.
pub(super) fn fetch(url: &str, token: Option<&str>, cache: &Cache) -> Result<PathBuf> {
    let name = url.split(['?', '#']).next().unwrap_or(url).rsplit('/').next().unwrap_or("file");
    let name = if name.is_empty() { "file" } else { name };
    let key = &sha256_bytes(url.as_bytes())[..16];
    let path = cache.path(&format!("https/{key}/{name}"));
    if path.is_file() {
        return Ok(path);
    }
    cache.may_fetch(&url)?;
    let _lock = cache.lock(&format!("https-{key}"))?;
    if path.is_file() {
        return Ok(path); // Another process was faster.
    }
    let folder = cache.path(&format!("https/{key}"));
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, "create", &e))?;
    let download =
        Download { url, token, part: folder.join("part"), about: folder.join("part.json") };
    download.run(cache)?;
    std::fs::rename(&download.part, &path).map_err(|e| Error::io(&path, "move", &e))?;
    let _ = std::fs::remove_file(&download.about);
    Ok(path)
}

pub(super) struct Download<'a> {
    pub url: &'a str,
    pub token: Option<&'a str>,
    pub part: PathBuf,
    pub about: PathBuf,
}

/// How a request ended.
enum Attempt {
    /// The file is whole.
    Whole,
    /// It broke off, for this reason; `resumed` tells whether it had gone on from where it was.
    Broken { reason: String, resumed: bool },
    /// The server starts from the beginning every time.
    NoRanges,
}

impl Download<'_> {
    /// What tells the fetched version apart, until `about` is removed.
    pub(super) fn validator(&self) -> Option<String> {
        self.about().validator
    }

    pub(super) fn run(&self, cache: &Cache) -> Result<()> {
        let mut futile = 0;
        let mut patience = ATTEMPT;
        loop {
            let before = length(&self.part);
            let (reason, resumed) = match self.attempt(cache, before, patience)? {
                Attempt::Whole => return Ok(()),
                Attempt::Broken { reason, resumed } => (reason, resumed || before == 0),
                Attempt::NoRanges if patience == ATTEMPT => {
                    patience = WHOLE;
                    continue;
                }
                Attempt::NoRanges => ("the server cannot go on in the middle".to_owned(), false),
            };
            let now = length(&self.part);
            // Starting anew is no progress, however far it gets.
            futile = if resumed && now > before { 0 } else { futile + 1 };
            if futile >= FUTILE {
                let about = self.about();
                let total = about.total.map_or_else(String::new, |t| format!(" of {}", Bytes(t)));
                let remedy = if about.validator.is_some() && now > 0 {
                    "check the network and run again; it goes on from there where the server can"
                } else {
                    "check the network and run again"
                };
                return Err(Error::environment(
                    self.url,
                    format!("the download broke off after {}{total}: {reason}", Bytes(now)),
                )
                .remedy(remedy));
            }
            // A server that is restarting needs a moment.
            std::thread::sleep(Duration::from_millis(200 << futile));
        }
    }

    /// One request for what is missing.
    fn attempt(&self, cache: &Cache, have: u64, patience: Duration) -> Result<Attempt> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            .timeout_recv_body(Some(patience))
            .build()
            .into();
        let mut about = self.about();
        // Without something that tells versions apart, two halves may not fit each other.
        let have = if about.validator.is_some() { have } else { 0 };
        let mut request = agent.get(self.url).header("Range", format!("bytes={have}-"));
        if let (Some(validator), true) = (&about.validator, have > 0) {
            request = request.header("If-Range", validator);
        }
        if let Some(token) = self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut response = match request.call() {
            Ok(response) => response,
            Err(e) => return Ok(broken(e)),
        };
        let header = |name: &str| {
            response.headers().get(name).and_then(|v| v.to_str().ok()).map(ToOwned::to_owned)
        };
        let status = response.status().as_u16();
        let strong = header("etag").filter(|tag| !tag.starts_with("W/"));
        let validator = strong.or_else(|| header("last-modified"));
        let same_file = validator == about.validator;
        about.validator = validator;
        // `bytes FIRST-LAST/TOTAL`
        let range = header("content-range").unwrap_or_default();
        let starts_at: Option<u64> = range
            .trim_start_matches("bytes ")
            .split('-')
            .next()
            .and_then(|first| first.parse().ok());
        let from = match status {
            // Halves that cannot be told apart cannot be joined either.
            206 if about.validator.is_none() && patience == ATTEMPT => {
                return Ok(Attempt::NoRanges);
            }
            // The rest of another file, or another part of this one, must not be put behind ours.
            206 if starts_at != Some(have) || (have > 0 && !same_file) => {
                self.forget()?;
                return Ok(broken("the file changed on the server"));
            }
            206 => {
                about.total = range.rsplit_once('/').and_then(|(_, total)| total.parse().ok());
                have
            }
            200 => {
                about.total = header("content-length").and_then(|length| length.parse().ok());
                // Small files come whole in any time; large ones need a longer look.
                if patience == ATTEMPT && about.total.is_none_or(|total| total > 64 << 20) {
                    return Ok(Attempt::NoRanges);
                }
                0
            }
            // Nothing is missing, or what is here is no longer part of the file.
            416 if about.total == Some(have) => return Ok(Attempt::Whole),
            416 => {
                self.forget()?;
                return Ok(broken("the file changed on the server"));
            }
            500.. | 408 | 429 => return Ok(broken(format!("the server says {status}"))),
            _ => return Err(self.refused(status)),
        };
        let is_chunked = header("transfer-encoding").is_some_and(|te| te.contains("chunked"));
        if about.total.is_none() && !is_chunked {
            return Err(Error::environment(
                self.url,
                "the server does not say how long the file is: a part could pass for the whole",
            )
            .remedy("download it by other means and give its path"));
        }
        self.write_about(&about)?;
        let io = |doing: &str, e: &std::io::Error| Error::io(&self.part, doing, e);
        let mut file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&self.part)
            .map_err(|e| io("write", &e))?;
        file.set_len(from).map_err(|e| io("cut", &e))?;
        file.seek(SeekFrom::Start(from)).map_err(|e| io("write", &e))?;
        let total = about.total.map(Bytes);
        let mut body = response.body_mut().as_reader();
        let copied = cache.watching(&self.url, Bytes(from), total, |advance| {
            copy(&mut body, &mut file, from, advance)
        });
        match copied {
            Err(Failed::Write(e)) => Err(io("write", &e)),
            Err(Failed::Read(e)) => {
                Ok(Attempt::Broken { reason: e.to_string(), resumed: from > 0 })
            }
            Ok(end) if about.total.is_some_and(|total| end < total) => Ok(Attempt::Broken {
                reason: "the connection was closed early".to_owned(),
                resumed: from > 0,
            }),
            Ok(end) if about.total.is_some_and(|total| end > total) => {
                self.forget()?;
                Ok(broken("the server sent more than it said"))
            }
            Ok(_) => Ok(Attempt::Whole),
        }
    }

    fn about(&self) -> Half {
        let text = std::fs::read_to_string(&self.about).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn write_about(&self, about: &Half) -> Result<()> {
        let text = serde_json::to_string(about).map_err(|e| Error::internal("download", e))?;
        std::fs::write(&self.about, text).map_err(|e| Error::io(&self.about, "write", &e))
    }

    fn forget(&self) -> Result<()> {
        let _ = std::fs::remove_file(&self.about);
        match std::fs::remove_file(&self.part) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(&self.part, "remove", &e))
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, status: u16) -> Error {
        let error = Error::input(self.url, format!("the server says {status}"));
        match status {
            401 | 403 => error.remedy("it needs permission: set HF_TOKEN for the Hugging Face hub"),
            404 | 410 => error.remedy("check the address: no such file is there"),
            _ => error.remedy("check the address in a browser"),
        }
    }
}

fn broken(reason: impl std::fmt::Display) -> Attempt {
    Attempt::Broken { reason: format!("{reason}"), resumed: false }
}

enum Failed {
    Read(std::io::Error),
    Write(std::io::Error),
}

/// Copies until the end; what was read before an error is written.
fn copy(
    from: &mut impl Read,
    to: &mut File,
    mut at: u64,
    advance: &dyn Fn(Bytes),
) -> Result<u64, Failed> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = from.read(&mut buffer).map_err(Failed::Read)?;
        if n == 0 {
            return to.flush().map(|()| at).map_err(Failed::Write);
        }
        to.write_all(&buffer[..n]).map_err(Failed::Write)?;
        at += n as u64;
        advance(Bytes(at));
    }
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}
