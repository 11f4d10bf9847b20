//! What systemd hears from the daemon (`sd_notify(3)`). Without systemd every call does nothing.
//!
//! The watchdog is fed by the turns of the line and never by a timer: a process whose line is stuck and whose timers run is the
//! worst case, and must be restarted.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::domain::time::Now;

/// The daemon's side of `Type=notify`.
#[derive(Debug)]
pub struct Service {
    /// A quarter of `WatchdogSec`: one turn may be late, and a second one, without a restart.
    feed_every: Option<Duration>,
    fed_at_us: Option<u64>,
}

impl Service {
    /// Reads what systemd asked for (`WATCHDOG_USEC`).
    pub fn from_environment() -> Self {
        Self { feed_every: sd_notify::watchdog_enabled().map(|interval| interval / 4), fed_at_us: None }
    }

    /// Recovery is done and the line turns. Said once.
    pub fn ready(&self, status: &str) {
        say(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        say(&[NotifyState::Status(status)]);
    }

    /// Called by every turn; speaks only as often as the watchdog needs.
    pub fn turned(&mut self, now: Now) {
        let Some(every) = self.feed_every else { return };
        let due = self.fed_at_us.is_none_or(|fed| u128::from(now.mono_us.saturating_sub(fed)) >= every.as_micros());
        if due {
            self.fed_at_us = Some(now.mono_us);
            say(&[NotifyState::Watchdog]);
        }
    }

    /// A clean stop has begun.
    pub fn stopping(&self) {
        say(&[NotifyState::Stopping]);
    }
}

/// A service manager that does not listen is no reason to stop a line; systemd itself restarts what it does not hear.
fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd does not take notifications");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    fn at(mono_us: u64) -> Now {
        Now { wall_us: 0, mono_us }
    }

    /// Runs in a process of its own, since the environment belongs to the whole process.
    #[test]
    #[ignore = "the other test starts it with the environment that systemd would give"]
    fn speaks_as_a_service() {
        let mut service = Service::from_environment();
        service.ready("line3: ready");
        for ms in [0, 100, 200, 249, 250, 300, 500] {
            service.turned(at(ms * 1000));
        }
        service.stopping();
    }

    #[test]
    fn says_ready_feeds_the_watchdog_by_turns_and_says_stopping() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("the folder is ours");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a bound on waiting");
        let status = Command::new(std::env::current_exe().expect("this test"))
            .args(["--ignored", "--exact", "runtime::service::tests::speaks_as_a_service"])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "1000000")
            .env_remove("WATCHDOG_PID")
            .output()
            .expect("it starts");
        assert!(status.status.success());
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "STOPPING=1") {
            let mut bytes = [0; 256];
            let length = socket.recv(&mut bytes).expect("every message was sent before the child ended");
            heard.push(String::from_utf8_lossy(&bytes[..length]).trim().to_owned());
        }
        let fed = "WATCHDOG=1";
        assert_eq!(heard, ["READY=1\nSTATUS=line3: ready", fed, fed, fed, "STOPPING=1"]);
    }

    #[test]
    fn without_a_watchdog_turns_say_nothing() {
        let mut service = Service { feed_every: None, fed_at_us: None };
        service.turned(at(1));
        assert_eq!(service.fed_at_us, None);
    }
}
