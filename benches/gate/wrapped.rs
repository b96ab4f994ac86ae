//! A worker whose sessions do more than the model asks for: real work, a fixed number of units a request.

use std::hint::black_box;
use std::process::ExitCode;

use infermark::backend::{Session, Ticket, Trace};
use infermark::error::Result;
use infermark::variant::Tensors;

/// Numbers that a unit of work multiplies and adds: 16 KiB, which stay in the first cache.
const NUMBERS: usize = 4096;

struct Wrapped {
    inner: Box<dyn Session>,
    units: u32,
    numbers: Vec<f32>,
}

impl Session for Wrapped {
    fn submit(&mut self, inputs: &Tensors) -> Result<Ticket> {
        self.inner.submit(inputs)
    }

    fn wait(&mut self, ticket: Ticket, trace: &mut Trace) -> Result<Tensors> {
        let outputs = self.inner.wait(ticket, trace);
        for _ in 0..self.units {
            for number in &mut self.numbers {
                *number = *number * 0.999 + 0.001;
            }
            black_box(&mut self.numbers);
        }
        outputs
    }
}

/// Serves the worker protocol; every request takes `units` more of work.
pub(crate) fn serve(units: u32) -> ExitCode {
    let wrap = |inner| -> Box<dyn Session> {
        Box::new(Wrapped { inner, units, numbers: vec![0.5; NUMBERS] })
    };
    match infermark::measure::serve_with(&wrap) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
