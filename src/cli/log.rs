//! The daemon's log on standard error: one line an event. Under systemd each line begins with its syslog priority
//! (`sd-daemon(3)`), and the journal adds the time.

use std::fmt;
use std::io;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What is logged, as `tracing` filters are written: `debug`, `info,sealgate::device=debug`.
const FILTER: &str = "SEALGATE_LOG";
/// Ours in full; of the libraries what somebody must look at. The OPC UA library repeats at every attempt what the device task says
/// once.
const FILTER_DEFAULT: &str = "warn,sealgate=info,opcua=off";

/// Called once, by the process that is a daemon.
pub(super) fn start() {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(FILTER_DEFAULT));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    // systemd sets it where standard error goes to the journal (systemd.exec(5)).
    let started = if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.event_format(WithPriority(Format::default().compact().without_time())).try_init()
    } else {
        builder.compact().try_init()
    };
    // A second start in one process keeps the first log.
    let _ = started;
}

struct WithPriority(Format<Compact, ()>);

impl<S, N> FormatEvent<S, N> for WithPriority
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// `syslog(3)`: 3 error, 4 warning, 6 information, 7 debug.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_weighs_more_than_a_warning_for_the_journal() {
        let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(all.map(priority), [3, 4, 6, 7, 7]);
    }
}
