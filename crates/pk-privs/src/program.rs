//! A program of the classic BPF that seccomp runs: written from its end to its beginning.
//!
//! BPF jumps only forward, so that whatever is jumped to has been written by then and its distance
//! is known. `seccomp(2)`; the instructions are described in the kernel's
//! `Documentation/networking/filter.rst`.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET,
    BPF_W, sock_filter,
};
use std::collections::HashMap;

/// A conditional jump has eight bits for each of its two distances; `ja` has 32.
const FAR: usize = 255;

/// A place in the program, counted from its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label(usize);

/// How the word that was loaded last is compared.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
}

/// A program, last instruction first.
#[derive(Default)]
pub struct Program {
    reversed: Vec<sock_filter>,
    returns: HashMap<u32, Label>,
}

impl Program {
    /// Ends the call with an action. One that is near enough is used again.
    pub fn end_with(&mut self, action: u32) -> Label {
        // As many more instructions as a test may put in between.
        if let Some(&label) = self.returns.get(&action).filter(|label| self.distance(**label) < 200)
        {
            return label;
        }
        let label = self.push(BPF_RET | BPF_K, action, 0, 0);
        self.returns.insert(action, label);
        label
    }

    /// Loads a word of the call's description, `struct seccomp_data`, and goes on.
    pub fn load(&mut self, offset: u32) -> Label {
        self.push(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
    }

    /// Keeps some bits of the word that was loaded, and goes on.
    pub fn mask(&mut self, bits: u32) -> Label {
        self.push(BPF_ALU | BPF_AND | BPF_K, bits, 0, 0)
    }

    /// Goes to one of two places.
    pub fn branch(&mut self, test: Test, value: u32, yes: Label, no: Label) -> Label {
        let code = match test {
            Test::Equal => BPF_JEQ,
            Test::Greater => BPF_JGT,
            Test::GreaterOrEqual => BPF_JGE,
        };
        // One of the two is reached with a jump of its own, and that may push the other one away.
        let yes = self.within_reach(yes, 1);
        let no = self.within_reach(no, 0);
        let (jt, jf) = (self.distance(yes), self.distance(no));
        self.push(BPF_JMP | code | BPF_K, value, jt, jf)
    }

    /// The program in the order in which it runs.
    pub fn instructions(mut self) -> Vec<sock_filter> {
        self.reversed.reverse();
        self.reversed
    }

    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0
    }

    fn within_reach(&mut self, label: Label, room: usize) -> Label {
        if self.distance(label) + room <= FAR {
            return label;
        }
        let distance = u32::try_from(self.distance(label)).expect("a program is short");
        self.push(BPF_JMP | BPF_JA, distance, 0, 0)
    }

    fn push(&mut self, code: u32, k: u32, jt: usize, jf: usize) -> Label {
        let byte = |distance| u8::try_from(distance).expect("made near before");
        let code = u16::try_from(code).expect("BPF's codes have 16 bits");
        self.reversed.push(sock_filter { code, jt: byte(jt), jf: byte(jf), k });
        Label(self.reversed.len())
    }
}
