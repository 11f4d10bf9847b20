//! Running one question to its end.

/// On a runtime of its own, with which every connection ends: questions to devices that share one are one question. Every part of it is
/// bounded by the time limits of its device.
pub(super) fn block_on<T>(question: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime of one thread needs nothing that a process may lack");
    let answer = runtime.block_on(question);
    runtime.shutdown_background();
    answer
}
