//! Running one question to a device to its end.

/// On a runtime of its own. Every part of a question is bounded by the time limits of its device.
pub(super) fn block_on<T>(question: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime of one thread needs nothing that a process may lack");
    let answer = runtime.block_on(question);
    runtime.shutdown_background();
    answer
}
