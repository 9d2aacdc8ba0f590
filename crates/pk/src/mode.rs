//! What to do with the steps: carry them out, and with or without showing them.

use crate::step::Words;
use crate::stepping::Stepping;
use crate::trace::Trace;
use crate::{Error, Result, Tool};
use std::ffi::OsString;
use std::time::Instant;

/// How a tool runs, by its options or for a whole chain by the environment.
#[derive(Debug, Default)]
pub struct Mode {
    /// Print the steps and do nothing.
    pub explain: bool,
    pub trace: Option<Trace>,
    pub stepping: Option<Stepping>,
}

impl Mode {
    /// The mode that `PK_EXPLAIN`, `PK_TRACE` and `PK_STEP` ask for.
    pub fn from_environment(tool: &Tool) -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let on = |name, value: Option<OsString>| match value {
            Some(value) if value == "1" => Ok(true),
            Some(value) if value != "0" => {
                let what = format!("{name}={}", value.to_string_lossy());
                Err(Error::usage(what, "is 0 or 1"))
            }
            _ => Ok(false),
        };
        let explain = on("PK_EXPLAIN", variable("PK_EXPLAIN"))?;
        let json = variable("PK_TRACE").is_some_and(|value| value == "json");
        let trace = json || on("PK_TRACE", variable("PK_TRACE"))?;
        let trace = trace.then(|| Trace::from_environment(json)).transpose()?;
        let stepping = match variable("PK_STEP").filter(|value| value != "0" && !explain) {
            Some(value) => Some(Stepping::begin(tool, &value)?),
            None => None,
        };
        Ok(Self { explain, trace, stepping })
    }

    /// `--explain`.
    pub fn explain(&mut self) {
        self.explain = true;
    }

    /// `--trace`.
    pub fn trace(&mut self) -> Result<()> {
        if self.trace.is_none() {
            self.trace = Some(Trace::from_environment(false)?);
        }
        Ok(())
    }

    /// Tells of a step that was done, if somebody wants to know.
    pub fn report(
        &self,
        tool: &Tool,
        number: usize,
        words: &Words,
        result: &Result<()>,
        begin: Instant,
    ) -> Result<()> {
        let Some(trace) = &self.trace else { return Ok(()) };
        trace.report(tool, number, words, Some((result, begin)))
    }

    /// The environment variables that tell this mode to the next link.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let explain = self.explain.then(|| ("PK_EXPLAIN", "1".to_owned()));
        let trace = self.trace.iter().flat_map(Trace::variables);
        let stepping = self.stepping.iter().flat_map(Stepping::variables);
        explain.into_iter().chain(trace).chain(stepping).collect()
    }

    /// The descriptors that the next link needs for it.
    pub fn descriptors(&self) -> Vec<i32> {
        let trace = self.trace.iter().filter_map(Trace::descriptor);
        trace.chain(self.stepping.iter().flat_map(Stepping::descriptors)).collect()
    }
}
