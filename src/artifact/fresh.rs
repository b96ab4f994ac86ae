//! Lists that change: asked for anew every time, and fetched anew only when they did.

use std::path::PathBuf;
use std::time::Duration;

use super::https::Download;
use super::{Cache, sha256_bytes};
use crate::error::{Error, Result};
use crate::units::Bytes;

/// Requests for one page before it is given up.
const TRIES: u32 = 5;
/// No page is larger.
const PAGE: u64 = 256 << 20;

/// What a fetch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it is another than the last time.
    pub changed: bool,
}

/// How a request went.
enum Answer {
    Body(String, Option<String>),
    Unchanged,
    /// Worth another try, after as many seconds as the server says.
    Again(String, Option<u64>),
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_recv_body(Some(Duration::from_mins(2)))
        .build()
        .into()
}

fn header<B>(response: &ureq::http::Response<B>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// An address without what follows the question mark where a key stands in it: fit to be printed.
fn printable(url: &str) -> &str {
    if url.contains("key=") { url.split('?').next().unwrap_or(url) } else { url }
}

/// A large file: resumed where it broke off, and left alone where the server says that it is the same.
///
/// Errors name the address and what the server said.
pub fn fresh(url: &str, cache: &Cache) -> Result<Fresh> {
    cache.may_fetch(&printable(url))?;
    let key = &sha256_bytes(url.as_bytes())[..16];
    let name = url.split(['?', '#']).next().unwrap_or(url).rsplit('/').next().unwrap_or("list");
    let folder = cache.path(&format!("lists/{key}"));
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, "create", &e))?;
    let _lock = cache.lock(&format!("list-{key}"))?;
    let path = folder.join(if name.is_empty() { "list" } else { name });
    let tag = folder.join("etag");
    let known = std::fs::read_to_string(&tag).ok().filter(|_| path.is_file());
    if let Some(known) = &known {
        // A refusal is told by the download below, with its own words.
        if let Ok(response) = agent().get(url).header("If-None-Match", known).call()
            && response.status().as_u16() == 304
        {
            return Ok(Fresh { path, changed: false });
        }
    }
    let part = folder.join("part");
    let download =
        Download { url, token: None, part: part.clone(), about: folder.join("part.json") };
    download.run(cache)?;
    std::fs::rename(&part, &path).map_err(|e| Error::io(&path, "move", &e))?;
    let validator = download.validator();
    let _ = std::fs::remove_file(folder.join("part.json"));
    match validator {
        Some(validator) => {
            std::fs::write(&tag, validator).map_err(|e| Error::io(&tag, "write", &e))?;
        }
        None => drop(std::fs::remove_file(&tag)),
    }
    Ok(Fresh { path, changed: true })
}

/// Pages that name the next one, each asked for until it is whole.
///
/// A page is kept with its entity tag, so that an update that was cut off asks for what is known without fetching it
/// again. `next` finds the next page's address in a page's text, or an error where the text is no whole page; it must
/// be on the same server. `seen` is told of every page.
///
/// Errors name the page.
pub fn pages(
    first: &str,
    cache: &Cache,
    next: impl Fn(&str) -> std::result::Result<Option<String>, String>,
    mut seen: impl FnMut(usize, &str),
) -> Result<Vec<Fresh>> {
    cache.may_fetch(&printable(first))?;
    let mut all: Vec<Fresh> = Vec::new();
    let mut asked = std::collections::HashSet::new();
    let mut url = first.to_owned();
    loop {
        let number = all.len() + 1;
        let name = format!("{}: page {number}", printable(first));
        if !asked.insert(url.clone()) {
            return Err(Error::environment(&name, "was there before: the pages go round")
                .remedy("run again; if it stays so, fetch the list by other means"));
        }
        if host(&url) != host(first) {
            let message = format!("is said to be on another server: {}", printable(&url));
            return Err(Error::environment(&name, message)
                .remedy("check the address: pages of one list come from one server"));
        }
        let (page, text) = page(&url, &name, cache, &next)?;
        seen(number, &text);
        all.push(page);
        match next(&text).map_err(|why| Error::environment(&name, why))? {
            Some(following) => url = following,
            None => return Ok(all),
        }
    }
}

/// Scheme, host and port, a scheme's own port being the same as none.
fn host(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let own = if scheme == "https" { ":443" } else { ":80" };
    Some((scheme.to_owned(), host.strip_suffix(own).unwrap_or(host).to_owned()))
}

fn page(
    url: &str,
    name: &str,
    cache: &Cache,
    is_whole: &impl Fn(&str) -> std::result::Result<Option<String>, String>,
) -> Result<(Fresh, String)> {
    let key = &sha256_bytes(url.as_bytes())[..16];
    let (at, tag_at) = (format!("lists/pages/{key}.json"), format!("lists/pages/{key}.etag"));
    let path = cache.path(&at);
    let kept = std::fs::read_to_string(&path).ok().filter(|text| is_whole(text).is_ok());
    let tag = kept.as_ref().and_then(|_| std::fs::read_to_string(cache.path(&tag_at)).ok());
    let mut reason = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            reason.push_str("; ");
        }
        let (why, wait) = match ask(url, tag.as_deref()) {
            Answer::Unchanged => {
                if let Some(text) = kept {
                    return Ok((Fresh { path, changed: false }, text));
                }
                ("the server says that nothing changed, and nothing is here".to_owned(), None)
            }
            Answer::Body(text, fresh_tag) => match is_whole(&text) {
                Ok(_) => {
                    let changed = kept.as_deref() != Some(text.as_str());
                    let path = cache.store(&at, text.as_bytes())?;
                    match fresh_tag {
                        Some(tag) => drop(cache.store(&tag_at, tag.as_bytes())?),
                        None => drop(std::fs::remove_file(cache.path(&tag_at))),
                    }
                    return Ok((Fresh { path, changed }, text));
                }
                Err(why) => (why, None),
            },
            Answer::Again(why, wait) => (why, wait),
        };
        reason.push_str(&why);
        if let Some(stop) = why.strip_prefix("refused: ") {
            return Err(
                Error::input(name, stop).remedy("check the address, the region and the key")
            );
        }
        // A server that is restarting, or asks for patience, gets it.
        let patience = wait.map_or(Duration::from_millis(200 << attempt), Duration::from_secs);
        std::thread::sleep(patience.min(Duration::from_secs(30)));
    }
    Err(Error::environment(name, format!("did not come in {TRIES} tries: {reason}"))
        .remedy("check the network and run again; pages that came are kept"))
}

fn ask(url: &str, tag: Option<&str>) -> Answer {
    let mut request = agent().get(url);
    if let Some(tag) = tag {
        request = request.header("If-None-Match", tag);
    }
    let mut response = match request.call() {
        Ok(response) => response,
        Err(e) => return Answer::Again(e.to_string(), None),
    };
    match response.status().as_u16() {
        200 => {}
        304 => return Answer::Unchanged,
        status @ (408 | 429 | 500..) => {
            let wait = header(&response, "retry-after").and_then(|s| s.parse().ok());
            return Answer::Again(format!("the server says {status}"), wait);
        }
        status => return Answer::Again(format!("refused: the server says {status}"), None),
    }
    let tag = header(&response, "etag");
    let said: Option<u64> = header(&response, "content-length").and_then(|n| n.parse().ok());
    match response.body_mut().with_config().limit(PAGE).read_to_string() {
        Err(e) => Answer::Again(format!("it broke off: {e}"), None),
        Ok(text) if said.is_some_and(|said| text.len() as u64 != said) => {
            Answer::Again(format!("it broke off after {}", Bytes(text.len() as u64)), None)
        }
        Ok(text) => Answer::Body(text, tag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_s_own_port_is_the_same_server() {
        assert_eq!(host("https://a.b:443/x?y"), host("https://a.b/z"));
        assert_ne!(host("https://a.b/x"), host("https://a.c/x"));
        assert_ne!(host("http://a.b:81/x"), host("http://a.b/x"));
        assert_eq!(printable("https://a.b/x?key=secret&y=1"), "https://a.b/x");
    }
}
