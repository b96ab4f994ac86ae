//! What quantised products were really computed with.

use std::collections::BTreeSet;

use crate::store::{Numeric, Record};

/// A note for every kernel of a variant that is not what the model asks for; each once.
pub(super) fn notes(records: &[Record]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut notes = Vec::new();
    for record in records {
        let of = |n: &&Numeric| n.emulated || n.activation_quant.is_some();
        for numeric in record.numerics.iter().filter(of) {
            let who = format!("{} on {}", record.case.variant, record.case.backend);
            let note = format!("{who}: {}", sentence(numeric));
            if seen.insert(note.clone()) {
                notes.push(note);
            }
        }
    }
    notes
}

fn sentence(numeric: &Numeric) -> String {
    let Numeric { kernel, products, activation_quant, emulated, reason } = numeric;
    let how = match (activation_quant, emulated) {
        (Some(quant), _) => format!("; the other factor: {quant}"),
        (None, true) => ", EMULATED: integers are multiplied as floats".to_owned(),
        (None, false) => String::new(),
    };
    let why = reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    let many = if *products == 1 { "product" } else { "products" };
    format!("{products} {many} by {kernel}{how}{why}")
}
