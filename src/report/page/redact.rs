//! Records without what names a host, a user or a folder.

use crate::store::Record;

/// The records with host ids replaced by numbers, and paths by their last part.
pub fn records(records: &[Record]) -> Vec<Record> {
    let mut hosts: Vec<String> = Vec::new();
    records
        .iter()
        .map(|record| {
            let mut record = record.clone();
            let at = hosts.iter().position(|host| *host == record.host_id).unwrap_or_else(|| {
                hosts.push(record.host_id.clone());
                hosts.len() - 1
            });
            record.host_id = format!("host-{}", at + 1);
            record.verdict.reasons.iter_mut().for_each(|reason| *reason = without_paths(reason));
            record.case.model = without_paths(&record.case.model);
            record.case.variant = without_paths(&record.case.variant);
            record.lineage.made_by = record.lineage.made_by.as_deref().map(without_paths);
            record
        })
        .collect()
}

/// Words that are absolute paths become their last part.
fn without_paths(text: &str) -> String {
    let short = |word: &str| match word.rsplit_once('/') {
        Some((before, last))
            if before.starts_with('/') || before.starts_with('~') || before.is_empty() =>
        {
            format!("…/{last}")
        }
        _ => word.to_owned(),
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_folders() {
        assert_eq!(without_paths("read /home/ann/m.onnx twice"), "read …/m.onnx twice");
        assert_eq!(without_paths("1/2 of it"), "1/2 of it");
    }
}
