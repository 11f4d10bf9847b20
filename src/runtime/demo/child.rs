//! The daemon as a child process, looked after as systemd would: started, heard READY, started again when it dies. On request
//! it is killed without warning, each time at least a second after READY.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::runtime::demo::DemoError;
use crate::runtime::demo::folder::Folder;
use crate::sim::random::Random;

const READY_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(30);
/// Between READY and a kill: this, and up to as much again.
const KILL_AFTER: Duration = Duration::from_millis(1000);

pub(super) struct Daemon {
    child: Child,
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
}

impl Daemon {
    pub(super) async fn start(folder: &Folder, kills: u32, seed: u64) -> Result<Self, DemoError> {
        let notify_path = folder.notify_socket();
        let notify = UnixDatagram::bind(&notify_path)?;
        let (config, log) = (folder.path("line.toml"), folder.path("daemon.log"));
        let child = spawn(&config, &log, &notify_path)?;
        let mut daemon = Self {
            child,
            notify,
            config,
            log,
            pid_file: folder.path("daemon.pid"),
            notify_path,
            kills_wanted: kills,
            kills: 0,
            kill_at: Instant::now(),
            random: Random::new(seed ^ 0x006B_696C_6C73),
            starts: 1,
        };
        daemon.wait_ready().await?;
        Ok(daemon)
    }

    pub(super) fn kills(&self) -> u32 {
        self.kills
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
            self.child.kill().await?;
            self.kills += 1;
        }
        if self.child.try_wait()?.is_some() {
            self.child = spawn(&self.config, &self.log, &self.notify_path)?;
            self.starts += 1;
            self.wait_ready().await?;
        }
        Ok(())
    }

    async fn wait_ready(&mut self) -> Result<(), DemoError> {
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
            ended = self.child.wait() => {
                let ended = ended?;
                return Err(self.stuck(&format!("ended with {ended}")));
            }
        }
        self.kill_at = Instant::now() + KILL_AFTER + Duration::from_millis(self.random.below(1000));
        Ok(())
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

fn spawn(config: &PathBuf, log: &PathBuf, notify: &PathBuf) -> Result<Child, DemoError> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let daemon = std::env::current_exe()?;
    let child = Command::new(daemon)
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
