//! What a rule asks of a call's argument.

use crate::abi::Abi;
use crate::program::{Label, Program, Test};
use serde::Deserialize;
use std::cmp::Reverse;

/// An argument, how it is compared, and with what. Arguments are compared without a sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u32,
    pub comparison: Comparison,
    pub value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// Of the bits of a mask.
    MaskedEqual(u64),
}

/// As it stands in a profile.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

impl TryFrom<&Entry> for Condition {
    type Error = String;

    fn try_from(entry: &Entry) -> Result<Self, String> {
        if entry.index > 5 {
            return Err(format!("there is no argument {}", entry.index));
        }
        let comparison = match entry.op.as_str() {
            "SCMP_CMP_NE" => Comparison::NotEqual,
            "SCMP_CMP_LT" => Comparison::Less,
            "SCMP_CMP_LE" => Comparison::LessOrEqual,
            "SCMP_CMP_EQ" => Comparison::Equal,
            "SCMP_CMP_GE" => Comparison::GreaterOrEqual,
            "SCMP_CMP_GT" => Comparison::Greater,
            // The first value is the mask, and the second one what is left under it.
            "SCMP_CMP_MASKED_EQ" => Comparison::MaskedEqual(entry.value),
            _ => return Err(format!("{:?} is no comparison", entry.op)),
        };
        let masked = matches!(comparison, Comparison::MaskedEqual(_));
        let value = if masked { entry.value & entry.value_two } else { entry.value };
        Ok(Self { argument: entry.index, comparison, value })
    }
}

/// Where an argument lies in `struct seccomp_data`, its lower half first: all ABIs that are known
/// here are little-endian.
fn offset(argument: u32) -> u32 {
    16 + 8 * argument
}

fn halves(value: u64) -> (u32, u32) {
    let low = u32::try_from(value & u64::from(u32::MAX)).expect("masked");
    (u32::try_from(value >> 32).expect("shifted"), low)
}

impl Condition {
    pub fn equal(argument: u32, value: u64) -> Self {
        Self { argument, comparison: Comparison::Equal, value }
    }

    /// As an ABI sees it: the upper half of a value means nothing where arguments have 32 bits.
    /// Nothing, where it always holds.
    pub fn on(mut self, abi: &Abi) -> Option<Self> {
        let all = if abi.wide { u64::MAX } else { u64::from(u32::MAX) };
        self.value &= all;
        if let Comparison::MaskedEqual(mask) = &mut self.comparison {
            *mask &= all;
        }
        (self.comparison != Comparison::MaskedEqual(0)).then_some(self)
    }

    /// Orders the rules of one call as libseccomp does, where more than one could apply: those on
    /// later arguments first; then ==, != and masks before < and <= before > and >=; then those
    /// that leave less: the larger value first, but of < and <= the smaller.
    pub fn rank(&self) -> (Reverse<u32>, Reverse<u32>, u64) {
        let (class, value) = match self.comparison {
            Comparison::Equal | Comparison::NotEqual | Comparison::MaskedEqual(_) => {
                (3, !self.value)
            }
            Comparison::Less | Comparison::LessOrEqual => (2, self.value),
            Comparison::Greater | Comparison::GreaterOrEqual => (1, !self.value),
        };
        (Reverse(self.argument), Reverse(class), value)
    }

    /// Writes the comparison: goes to `yes` or to `no`.
    pub fn write(&self, program: &mut Program, abi: &Abi, yes: Label, no: Label) -> Label {
        let (high, low) = halves(self.value);
        match self.comparison {
            Comparison::Equal => self.words(program, abi, [Some(high), Some(low)], None, (yes, no)),
            Comparison::NotEqual => {
                self.words(program, abi, [Some(high), Some(low)], None, (no, yes))
            }
            Comparison::MaskedEqual(mask) => {
                let (high_mask, low_mask) = halves(mask);
                let words = [(high_mask != 0).then_some(high), (low_mask != 0).then_some(low)];
                self.words(program, abi, words, Some((high_mask, low_mask)), (yes, no))
            }
            Comparison::GreaterOrEqual => self.order(program, abi, Test::GreaterOrEqual, (yes, no)),
            Comparison::Greater => self.order(program, abi, Test::Greater, (yes, no)),
            Comparison::Less => self.order(program, abi, Test::GreaterOrEqual, (no, yes)),
            Comparison::LessOrEqual => self.order(program, abi, Test::Greater, (no, yes)),
        }
    }

    /// Whether both halves are equal, as far as a mask asks for them.
    fn words(
        &self,
        program: &mut Program,
        abi: &Abi,
        [high, low]: [Option<u32>; 2],
        masks: Option<(u32, u32)>,
        (equal, different): (Label, Label),
    ) -> Label {
        let mut next = equal;
        let high = high.filter(|_| abi.wide).map(|word| (word, offset(self.argument) + 4));
        let low = low.map(|word| (word, offset(self.argument)));
        let masks = masks.map_or([None; 2], |(high, low)| [Some(low), Some(high)]);
        for (half, mask) in [low, high].into_iter().zip(masks) {
            let Some((word, at)) = half else { continue };
            program.branch(Test::Equal, word, next, different);
            if let Some(bits) = mask.filter(|&bits| bits != u32::MAX) {
                program.mask(bits);
            }
            next = program.load(at);
        }
        next
    }

    /// Whether it is larger: by its upper half, or by the lower one if the upper ones are equal.
    fn order(
        &self,
        program: &mut Program,
        abi: &Abi,
        test: Test,
        (larger, smaller): (Label, Label),
    ) -> Label {
        let (high, low) = halves(self.value);
        program.branch(test, low, larger, smaller);
        let lower = program.load(offset(self.argument));
        if !abi.wide {
            return lower;
        }
        let upper = program.branch(Test::Equal, high, lower, smaller);
        program.branch(Test::Greater, high, larger, upper);
        program.load(offset(self.argument) + 4)
    }
}
