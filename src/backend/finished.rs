//! Batches of engines that compute while they are called: finished when they are handed over.

use super::Ticket;
use crate::error::{Error, Result};
use crate::variant::Tensors;

/// Outputs that wait to be asked for.
#[derive(Default)]
pub(super) struct Finished {
    next: u64,
    kept: Vec<(Ticket, Tensors)>,
}

impl Finished {
    /// Keeps the outputs of a batch until its ticket is waited for.
    pub(super) fn keep(&mut self, outputs: Tensors) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.kept.push((ticket, outputs));
        ticket
    }

    /// The outputs of a ticket, once; `engine` is named where there are none.
    pub(super) fn take(&mut self, ticket: Ticket, engine: &str) -> Result<Tensors> {
        let at =
            self.kept.iter().position(|(kept, _)| *kept == ticket).ok_or_else(|| {
                Error::internal(engine, "waited for a batch that is not in flight")
            })?;
        Ok(self.kept.swap_remove(at).1)
    }
}
