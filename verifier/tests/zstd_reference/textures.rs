//! Data to compress.

/// Data of many textures: noise, runs, text, tables, all in one, so that every kind of block and table turns up.
pub(crate) fn textures(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    };
    let mut data: Vec<u8> = Vec::new();
    while data.len() < len {
        let run = 1 + next() as usize % 3000;
        match next() % 7 {
            0 => data.extend((0..run).map(|_| next() as u8)),
            1 => data.extend(std::iter::repeat_n(next() as u8, run)),
            2 => data.extend((0..run).map(|_| b"etaoin shrdlu"[next() as usize % 13])),
            3 => data.extend((0..run as u32).flat_map(|n| (n * 4 + 0x0800_0000).to_le_bytes())),
            4 => data.extend((0..run).map(|_| (next() % 3) as u8)),
            5 => {
                let from = next() as usize % (data.len() + 1);
                let copied: Vec<u8> = data[from..].iter().copied().take(run).collect();
                data.extend(copied);
            }
            _ => data.extend((0..run).map(|_| (((next() % 256) * (next() % 256)) >> 8) as u8)),
        }
    }
    data.truncate(len);
    data
}
