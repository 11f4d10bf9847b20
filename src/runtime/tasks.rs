//! Every thread and task of the daemon is started here, by name. A task that ends before it should, or a thread that cannot be
//! started, ends the process: half a daemon is worse than none.

use std::future::Future;
use std::thread::JoinHandle;

use tokio::task::JoinSet;

/// The daemon's asynchronous tasks; dropping it ends them.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<&'static str>,
}

impl Tasks {
    pub(super) fn add(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    /// The first task that ended although none should; for ever where there is none.
    pub(super) async fn ended(&mut self) -> String {
        match self.set.join_next().await {
            Some(Ok(name)) => name.to_owned(),
            Some(Err(error)) => error.to_string(),
            None => std::future::pending().await,
        }
    }
}

/// A named thread of the spine.
pub(super) fn thread<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn panics() {
        panic!("a task may not go on half-dead");
    }

    // F05, F06
    #[tokio::test]
    async fn a_task_that_panics_or_ends_is_noticed_whatever_the_others_do() {
        let mut tasks = Tasks::default();
        tasks.add("one that works on", std::future::pending());
        tasks.add("one that panics", panics());
        assert!(tasks.ended().await.contains("a task may not go on half-dead"));
        tasks.add("one that ends", async {});
        assert_eq!(tasks.ended().await, "one that ends");
    }

    // F05, F06
    #[test]
    fn a_panic_ends_the_process_that_ships() {
        let manifest = std::fs::read_to_string("Cargo.toml").unwrap();
        let release = manifest.split("[profile.release]").nth(1).unwrap();
        let release = release.split("\n[").next().unwrap();
        assert!(release.lines().any(|line| line.trim() == "panic = \"abort\""), "{release}");
    }
}
