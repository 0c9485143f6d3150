//! Standard output, for whoever collects that of a container.

use std::io::{self, Write as _};

use claviger_actors::audit::Sink;

pub(super) struct Stdout;

impl Sink for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines)?;
        stdout.flush()
    }
}
