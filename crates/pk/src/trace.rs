//! Steps as they are done: a line for each, to read or as JSON.

use crate::paint::Paint;
use crate::step::Words;
use crate::{Attempt, Error, Result, Tool, sys};
use std::os::fd::BorrowedFd;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How steps are reported while they are done.
#[derive(Clone, Debug)]
pub struct Trace {
    json: bool,
    /// The descriptor, standard error unless `PK_TRACE_FD` says otherwise.
    descriptor: i32,
    /// Which chain this is, the same for all of its links: several may report to one place.
    chain: String,
    /// Which link of it, from 1 on.
    link: u32,
}

/// Where the results begin, as `strace(1)` has it with `-a`.
const COLUMN: usize = 48;

impl Trace {
    /// What `PK_TRACE`, `PK_TRACE_FD` and, in a chain, the link before have asked for.
    pub fn from_environment(json: bool) -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let descriptor = match variable("PK_TRACE_FD") {
            None => 2,
            Some(value) => {
                let number = value.to_str().and_then(|value| value.parse().ok());
                let number = number.filter(|&number| sys::descriptor(number).is_ok());
                let what = format!("PK_TRACE_FD={}", value.to_string_lossy());
                number.ok_or_else(|| Error::usage(what, "is no open descriptor"))?
            }
        };
        let before = variable("PK_TRACE_LINK").and_then(|value| {
            let (chain, link) = value.to_str()?.split_once(' ')?;
            Some((chain.to_owned(), link.parse::<u32>().ok()?))
        });
        let (chain, link) = before.unwrap_or_else(|| (new_chain(), 0));
        Ok(Self { json, descriptor, chain, link: link.saturating_add(1) })
    }

    /// The descriptor, if it is one that has to be handed on.
    pub fn descriptor(&self) -> Option<i32> {
        Some(self.descriptor).filter(|&descriptor| descriptor > 2)
    }

    /// The environment variables that tell the next link to go on with it.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("PK_TRACE", if self.json { "json" } else { "1" }.to_owned()),
            ("PK_TRACE_FD", self.descriptor.to_string()),
            ("PK_TRACE_LINK", format!("{} {}", self.chain, self.link)),
        ]
    }

    /// One line about a step: its result and time, or that it begins where it cannot return.
    pub fn report(
        &self,
        tool: &Tool,
        number: usize,
        words: &Words,
        done: Option<(&Result<()>, Instant)>,
    ) -> Result<()> {
        let seconds = done.map(|(_, begin)| begin.elapsed().as_secs_f64());
        let result = done.map(|(result, _)| match result {
            Ok(()) => "0".to_owned(),
            Err(error) => error.errno().map_or("error".to_owned(), |errno| format!("{errno:?}")),
        });
        let descriptor = sys::descriptor(self.descriptor).attempt("PK_TRACE_FD")?;
        let line = if self.json {
            let Words { why, call, shell } = words;
            let fields = serde_json::json!({
                "chain": self.chain, "link": self.link, "tool": tool.name, "pid": std::process::id(),
                "step": number, "call": call, "shell": shell, "why": why,
                "result": result, "seconds": seconds,
            });
            format!("{fields}\n")
        } else {
            line(tool, &words.call, result.as_deref().zip(seconds), descriptor)
        };
        nix::unistd::write(descriptor, line.as_bytes()).attempt("write(PK_TRACE_FD)")?;
        Ok(())
    }
}

fn line(tool: &Tool, call: &str, done: Option<(&str, f64)>, reader: BorrowedFd) -> String {
    let paint = Paint::of(reader);
    let name = format!("{}:", tool.name);
    // The longest name is pk-chroot-exec's.
    let name = format!("{name:<15}");
    let Some((result, seconds)) = done else { return format!("{} {call}\n", paint.dim(name)) };
    let result = match result {
        "0" => "= 0".to_owned(),
        errno => paint.red(format_args!("= -1 {errno}")),
    };
    let time = paint.dim(format_args!("<{seconds:.6}>"));
    format!("{} {call:COLUMN$} {result} {time}\n", paint.dim(name))
}

/// A name that no other chain has: who began it, and when.
fn new_chain() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", std::process::id(), now.as_micros())
}
