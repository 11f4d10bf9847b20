//! Parses the command line, calls it, exits with its code.

fn main() -> std::process::ExitCode {
    sealgate::cli::main()
}
