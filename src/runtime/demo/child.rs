//! The daemon as a child process, looked after as systemd would: started, heard READY, started again when it dies. On request
//! it is killed without warning, each time at least a second after READY.
//!
//! It may be started under another program, which gets its command line and the number of the start in `SEALGATE_START`; then it may
//! die at any time, before READY too, and is started again a bounded number of times.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::runtime::demo::folder::Folder;
use crate::runtime::demo::{DemoError, DemoSettings};
use crate::sim::random::Random;

const READY_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(30);
/// Between READY and a kill: this, and up to as much again.
const KILL_AFTER: Duration = Duration::from_millis(1000);
/// The process that has said READY, while it is not known to have ended.
pub(super) type Serving = Rc<Cell<Option<u32>>>;

/// Starts of a daemon that runs under another program, before it is given up.
const STARTS_UNDER_MAX: u32 = 60;

pub(super) struct Daemon {
    child: Child,
    serving: Serving,
    notify: UnixDatagram,
    config: PathBuf,
    log: PathBuf,
    pid_file: PathBuf,
    notify_path: PathBuf,
    kills_wanted: u32,
    kills: u32,
    kill_at: Instant,
    random: Random,
    starts: u32,
    under: Vec<String>,
}

impl Daemon {
    pub(super) async fn start(folder: &Folder, settings: &DemoSettings) -> Result<Self, DemoError> {
        let DemoSettings { kills, seed, under, .. } = settings;
        let notify_path = folder.notify_socket();
        let notify = UnixDatagram::bind(&notify_path)?;
        let (config, log) = (folder.path("line.toml"), folder.path("daemon.log"));
        let child = spawn(&Start { config: &config, log: &log, notify: &notify_path, under, number: 1 })?;
        let mut daemon = Self {
            child,
            serving: Serving::default(),
            notify,
            config,
            log,
            pid_file: folder.path("daemon.pid"),
            notify_path,
            kills_wanted: *kills,
            kills: 0,
            kill_at: Instant::now(),
            random: Random::new(seed ^ 0x006B_696C_6C73),
            starts: 1,
            under: under.clone(),
        };
        daemon.come_up().await?;
        Ok(daemon)
    }

    pub(super) fn kills(&self) -> u32 {
        self.kills
    }

    pub(super) fn serving(&self) -> Serving {
        Rc::clone(&self.serving)
    }

    pub(super) fn starts(&self) -> u32 {
        self.starts
    }

    pub(super) fn has_killed_enough(&self) -> bool {
        self.kills >= self.kills_wanted
    }

    pub(super) fn stop_killing(&mut self) {
        self.kills_wanted = self.kills;
    }

    /// Kills it when that is due, and starts it again when it is gone, whoever ended it.
    pub(super) async fn look_after(&mut self) -> Result<(), DemoError> {
        if !self.has_killed_enough() && Instant::now() >= self.kill_at {
            self.serving.set(None);
            self.child.kill().await?;
            self.kills += 1;
        }
        if self.child.try_wait()?.is_some() {
            self.serving.set(None);
            self.start_again()?;
            self.come_up().await?;
        }
        Ok(())
    }

    fn start_again(&mut self) -> Result<(), DemoError> {
        self.starts += 1;
        let Self { config, log, notify_path: notify, under, starts: number, .. } = self;
        self.child = spawn(&Start { config, log, notify, under, number: *number })?;
        Ok(())
    }

    /// Until READY. A daemon by itself that ends before it is an error.
    async fn come_up(&mut self) -> Result<(), DemoError> {
        while let Some(ended) = self.wait_ready().await? {
            if self.under.is_empty() || self.starts >= STARTS_UNDER_MAX {
                return Err(self.stuck(&format!("ended with {ended}")));
            }
            self.start_again()?;
        }
        Ok(())
    }

    /// `None` once it is ready, else how it ended before.
    async fn wait_ready(&mut self) -> Result<Option<ExitStatus>, DemoError> {
        if let Some(pid) = self.child.id() {
            std::fs::write(&self.pid_file, format!("{pid}\n"))?;
        }
        let mut heard = [0; 4096];
        let is_ready = timeout(READY_MAX, async {
            loop {
                let length = self.notify.recv(&mut heard).await?;
                let said = heard.get(..length).unwrap_or_default();
                if said.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                    return Ok::<(), std::io::Error>(());
                }
            }
        });
        tokio::select! {
            ready = is_ready => match ready {
                Ok(ready) => ready?,
                Err(_) => return Err(self.stuck("is not ready")),
            },
            ended = self.child.wait() => return Ok(Some(ended?)),
        }
        self.serving.set(self.child.id());
        self.kill_at = Instant::now() + KILL_AFTER + Duration::from_millis(self.random.below(1000));
        Ok(None)
    }

    fn stuck(&self, what: &str) -> DemoError {
        DemoError::Stuck(format!("the daemon {what}; see {}", self.log.display()))
    }

    /// SIGTERM, as systemd stops it; a clean stop ends with 0.
    pub(super) async fn stop(&mut self) -> Result<(), DemoError> {
        let Some(pid) = self.child.id() else { return Err(self.stuck("is gone")) };
        let asked = Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await?;
        if !asked.success() {
            return Err(self.stuck("cannot be told to stop"));
        }
        match timeout(STOP_MAX, self.child.wait()).await {
            Ok(ended) if ended.as_ref().is_ok_and(|status| status.success()) => Ok(()),
            Ok(ended) => Err(self.stuck(&format!("stopped with {ended:?}"))),
            Err(_) => Err(self.stuck("does not stop")),
        }
    }
}

/// One start of the daemon.
struct Start<'a> {
    config: &'a Path,
    log: &'a Path,
    notify: &'a Path,
    under: &'a [String],
    number: u32,
}

fn spawn(start: &Start<'_>) -> Result<Child, DemoError> {
    let Start { config, log, notify, under, number } = start;
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let daemon = std::env::current_exe()?;
    let mut command = match under.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(daemon).env("SEALGATE_START", number.to_string());
            command
        }
        None => Command::new(daemon),
    };
    let child = command
        .arg("run")
        .arg("--config")
        .arg(config)
        .env("NOTIFY_SOCKET", notify)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}
