//! A small mutator without any feedback, for a bounded run that is the same everywhere. The coverage-guided one is libFuzzer.

/// What the formats here are made of.
const WORDS: [&[u8]; 34] = [
    b"{}",
    b"[]",
    b"null",
    b"true",
    b"\"\"",
    b"0",
    b"-1",
    b"1e400",
    b"9223372036854775808",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xc0\x80",
    b"\n----\n",
    b"\"metadata\":{}",
    b"\"spec\":null",
    b"\"$patch\":\"replace\"",
    b"\"$retainKeys\":[\"a\"]",
    b"\"$setElementOrder/containers\":[]",
    b"f:a",
    b"k:{\"name\":\"a\"}",
    b"%41",
    b"&",
    b"=",
    b",",
    b" in (",
    b"!",
    b"/",
    b"~1",
    b"/-",
    b"<<: *a",
    b"&a ",
    b"\r\n",
    b"1Gi",
];

/// Those of them that are text.
pub fn words() -> impl Iterator<Item = &'static str> {
    WORDS.into_iter().filter_map(|word| std::str::from_utf8(word).ok())
}

/// A stream of numbers from a seed (SplitMix64).
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Eight random bits.
    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A number below a bound, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let longest = (length - start).min(32);
        start..start + self.below(longest + 1)
    }
}

/// Changes an input in one to four places; `other` lends pieces.
pub fn mutate(input: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let place = numbers.range(out.len());
        match numbers.below(7) {
            0 if !out.is_empty() => {
                let at = numbers.below(out.len());
                out[at] ^= 1 << numbers.below(8);
            }
            1 if !out.is_empty() => {
                let at = numbers.below(out.len());
                out[at] = numbers.byte();
            }
            2 => drop(out.drain(place)),
            3 => {
                let piece = out[place.clone()].to_vec();
                out.splice(place.start..place.start, piece.repeat(1 + numbers.below(3)));
            }
            4 => {
                let piece = other[numbers.range(other.len())].to_vec();
                out.splice(place, piece);
            }
            5 => {
                let word = WORDS[numbers.below(WORDS.len())];
                out.splice(place, word.iter().copied());
            }
            _ => {
                let word = WORDS[numbers.below(WORDS.len())];
                out.splice(place.start..place.start, word.iter().copied());
            }
        }
    }
    out
}
