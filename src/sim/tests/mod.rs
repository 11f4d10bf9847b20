//! The plant as a whole: at the tag level in its own time (`rehearsal`), and over the wire in real time (`dry_run`).

mod cameras;
mod dry_run;
mod quality;
mod rehearsal;
