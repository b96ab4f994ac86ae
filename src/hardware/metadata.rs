//! The metadata service of a cloud: asked only when the user wants it, and within one second.

use std::time::Duration;

use super::cloud::Cloud;

/// Where the services are; all three clouds answer on this link-local address.
pub const SERVICE: &str = "http://169.254.169.254";
/// For all questions together.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks the metadata service at `base` which instance this is: AWS (its service's version 2), Google Cloud, Azure,
/// all at once; the first that answers with an instance type is believed. `None` when nobody does
/// within a second.
pub fn ask(base: &str) -> Option<Cloud> {
    let (tx, rx) = std::sync::mpsc::channel();
    for clouds_own in [aws, gcp, azure] {
        let (tx, base) = (tx.clone(), base.to_owned());
        // A thread whose answer comes too late ends on its own: its requests have time-outs.
        std::thread::spawn(move || {
            if let Some(cloud) = clouds_own(&agent(), &base) {
                let _ = tx.send(cloud);
            }
        });
    }
    drop(tx);
    rx.recv_timeout(PATIENCE).ok()
}

fn agent() -> ureq::Agent {
    // Never through a proxy: a link-local address means this machine's own host.
    ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().into()
}

fn text(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Option<String> {
    let text = response.ok()?.body_mut().read_to_string().ok()?;
    Some(text.trim().to_owned()).filter(|t| !t.is_empty() && t.len() < 200)
}

fn cloud(provider: &str, instance_type: String, region: Option<String>) -> Cloud {
    Cloud { provider: Some(provider.to_owned()), instance_type: Some(instance_type), region }
}

fn aws(agent: &ureq::Agent, base: &str) -> Option<Cloud> {
    let token = agent
        .put(format!("{base}/latest/api/token"))
        .header("X-aws-ec2-metadata-token-ttl-seconds", "60")
        .send_empty();
    let token = text(token)?;
    let get = |path: &str| {
        let request = agent.get(format!("{base}/latest/meta-data/{path}"));
        text(request.header("X-aws-ec2-metadata-token", token.as_str()).call())
    };
    Some(cloud("aws", get("instance-type")?, get("placement/region")))
}

fn gcp(agent: &ureq::Agent, base: &str) -> Option<Cloud> {
    let get = |path: &str| {
        let request = agent.get(format!("{base}/computeMetadata/v1/instance/{path}"));
        text(request.header("Metadata-Flavor", "Google").call())
    };
    // `projects/123/machineTypes/n2-standard-4`, `projects/123/zones/us-central1-a`.
    let machine = get("machine-type")?.rsplit_once("machineTypes/")?.1.to_owned();
    let zone = get("zone").and_then(|zone| Some(zone.rsplit_once("zones/")?.1.to_owned()));
    let region = zone.and_then(|zone| Some(zone.rsplit_once('-')?.0.to_owned()));
    Some(cloud("gcp", machine, region))
}

fn azure(agent: &ureq::Agent, base: &str) -> Option<Cloud> {
    let get = |what: &str| {
        let query = "api-version=2021-02-01&format=text";
        let request = agent.get(format!("{base}/metadata/instance/compute/{what}?{query}"));
        text(request.header("Metadata", "true").call())
    };
    Some(cloud("azure", get("vmSize")?, get("location")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};

    /// A service that answers as `answer` says by request line, and 404 otherwise.
    fn serve(answer: fn(&str) -> Option<&'static str>) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                let _ = reader.read_line(&mut first);
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                    line.clear();
                }
                let mut stream = stream;
                let (status, body) = match answer(&first) {
                    Some(body) => ("200 OK", body),
                    None => ("404 Not Found", ""),
                };
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        base
    }

    #[test]
    fn each_cloud_answers_in_its_own_way() {
        let aws = serve(|line| match line.split_whitespace().nth(1)? {
            "/latest/api/token" => Some("T0KEN"),
            "/latest/meta-data/instance-type" => Some("c7i.xlarge"),
            "/latest/meta-data/placement/region" => Some("eu-central-1"),
            _ => None,
        });
        let found = ask(&aws).unwrap();
        assert_eq!(found.instance_type.as_deref(), Some("c7i.xlarge"));
        assert_eq!(found.region.as_deref(), Some("eu-central-1"));
        let gcp = serve(|line| match line.split_whitespace().nth(1)? {
            "/computeMetadata/v1/instance/machine-type" => {
                Some("projects/1/machineTypes/c4d-standard-4")
            }
            "/computeMetadata/v1/instance/zone" => Some("projects/1/zones/us-central1-a"),
            _ => None,
        });
        let found = ask(&gcp).unwrap();
        assert_eq!(found.provider.as_deref(), Some("gcp"));
        assert_eq!(found.instance_type.as_deref(), Some("c4d-standard-4"));
        assert_eq!(found.region.as_deref(), Some("us-central1"));
        let azure = serve(|line| line.contains("/compute/vmSize?").then_some("Standard_D4s_v5"));
        assert_eq!(ask(&azure).unwrap().instance_type.as_deref(), Some("Standard_D4s_v5"));
    }

    #[test]
    fn nobody_there_is_nobody_after_a_second_at_most() {
        assert_eq!(ask(&serve(|_| None)), None);
        // Accepts and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(ask(&format!("http://{}", silent.local_addr().unwrap())), None);
    }
}
