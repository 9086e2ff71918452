//! Programs made for tests: functions and tables of one instruction set, linked at an address, with one kind of address field. A newer
//! version has functions put in between, so that everything moves and every field changes.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

/// A field that holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    ThumbBranch,
    ThumbMovwMovt,
    ArmBranch,
    ArmMovwMovt,
    A64Branch,
    A64AdrpAdd,
    A64AdrpLoad,
    A64Adr,
    A64Literal,
    RiscvJal,
    RiscvAuipcAddi,
    RiscvAuipcJalr,
    RiscvLuiAddi,
    RiscvLuiStore,
    XtensaCall,
    XtensaJump,
    XtensaL32r,
    Pointer32,
    Pointer64,
    Distance32,
}

/// Instruction sets, for code that holds no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    Thumb,
    Arm,
    A64,
    Riscv,
    Xtensa,
}

/// Reproducible random numbers.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 20) as u32) % below.max(1)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll(256) as u8).collect()
    }
}

impl Set {
    /// An instruction without an address.
    fn plain(self, dice: &mut Dice) -> Vec<u8> {
        let bits = dice.roll(1 << 20);
        match self {
            // MOVS, ADDS, SUBS with an immediate.
            Self::Thumb => ((0x2000 + (bits % 3) * 0x0800 + 0x1000 * (bits & 1)) as u16 & 0x38ff
                | (bits >> 4) as u16 & 0x7ff)
                .to_le_bytes()
                .to_vec(),
            Self::Arm => (0xe080_0000 | bits & 0xff_f00f).to_le_bytes().to_vec(),
            Self::A64 => (0x8b00_0000 | bits & 0x1f_03ff).to_le_bytes().to_vec(),
            Self::Riscv => {
                (0x33 | (bits & 31) << 7 | (bits >> 5 & 31) << 15 | (bits >> 10 & 31) << 20).to_le_bytes().to_vec()
            }
            // ADD ar, as, at.
            Self::Xtensa => vec![(bits << 4) as u8, (bits >> 4) as u8, 0x80],
        }
    }

    /// A call, by which the set is recognised.
    fn call(self) -> Field {
        match self {
            Self::Thumb => Field::ThumbBranch,
            Self::Arm => Field::ArmBranch,
            Self::A64 => Field::A64Branch,
            Self::Riscv => Field::RiscvJal,
            Self::Xtensa => Field::XtensaCall,
        }
    }
}

impl Field {
    /// Bytes of the field at address `pc` that names `target`. `register` varies what it looks like.
    fn bytes(self, pc: u32, target: u32, register: u32) -> Vec<u8> {
        let distance = target.wrapping_sub(pc);
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let r = register % 8;
        match self {
            Self::ThumbBranch => {
                let d = distance.wrapping_sub(4);
                let s = d >> 24 & 1;
                let j = |bit: u32| (d >> bit & 1) ^ s ^ 1;
                let first = 0xf000 | s << 10 | d >> 12 & 0x3ff;
                let second = 0xd000 | j(23) << 13 | j(22) << 11 | d >> 1 & 0x7ff;
                [first as u16, second as u16].into_iter().flat_map(u16::to_le_bytes).collect()
            }
            Self::ThumbMovwMovt => {
                let half = |opcode: u32, value: u32| {
                    let first = opcode | (value >> 11 & 1) << 10 | value >> 12 & 15;
                    let second = (value >> 8 & 7) << 12 | r << 8 | value & 0xff;
                    [first as u16, second as u16]
                };
                let halves = [half(0xf240, target & 0xffff), half(0xf2c0, target >> 16)];
                halves.into_iter().flatten().flat_map(u16::to_le_bytes).collect()
            }
            Self::ArmBranch => words(&[0xeb00_0000 | distance.wrapping_sub(8) >> 2 & 0xff_ffff]),
            Self::ArmMovwMovt => {
                let put = |opcode: u32, value: u32| opcode | (value & 0xf000) << 4 | r << 12 | value & 0xfff;
                words(&[put(0xe300_0000, target & 0xffff), put(0xe340_0000, target >> 16)])
            }
            Self::A64Branch => words(&[0x9400_0000 | distance >> 2 & 0x3ff_ffff]),
            Self::A64AdrpAdd | Self::A64AdrpLoad => {
                let pages = (target & !0xfff).wrapping_sub(pc & !0xfff) >> 12;
                let adrp = 0x9000_0000 | r | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5;
                let low = target & 0xfff;
                let user = if self == Self::A64AdrpAdd {
                    0x9100_0000 | low << 10 | r << 5 | r
                } else {
                    0xb940_0000 | (low >> 2) << 10 | r << 5 | r
                };
                words(&[adrp, user])
            }
            Self::A64Adr => words(&[0x1000_0000 | r | (distance & 3) << 29 | (distance >> 2 & 0x7_ffff) << 5]),
            Self::A64Literal => words(&[0x5800_0000 | r | (distance >> 2 & 0x7_ffff) << 5]),
            Self::RiscvJal => words(&[0xef
                | (distance & 0x7fe) << 20
                | (distance & 0x800) << 9
                | distance & 0xf_f000
                | (distance & 0x10_0000) << 11]),
            Self::RiscvAuipcAddi | Self::RiscvAuipcJalr => {
                let rd = r + 8;
                let user = if self == Self::RiscvAuipcAddi { 0x13 } else { 0x67 };
                let high = distance.wrapping_add(0x800) & 0xffff_f000;
                words(&[0x17 | rd << 7 | high, user | rd << 7 | rd << 15 | (distance & 0xfff) << 20])
            }
            Self::RiscvLuiAddi | Self::RiscvLuiStore => {
                let rd = r + 8;
                let high = 0x37 | rd << 7 | target.wrapping_add(0x800) & 0xffff_f000;
                let low = target & 0xfff;
                let user = if self == Self::RiscvLuiAddi {
                    0x13 | rd << 7 | rd << 15 | low << 20
                } else {
                    0x2023 | rd << 15 | 5 << 20 | (low & 0xfe0) << 20 | (low & 31) << 7
                };
                words(&[high, user])
            }
            Self::XtensaCall => {
                let d = target.wrapping_sub((pc & !3).wrapping_add(4)) >> 2;
                (0x25 | (d & 0x3_ffff) << 6).to_le_bytes()[..3].to_vec()
            }
            Self::XtensaJump => (0x06 | (distance.wrapping_sub(4) & 0x3_ffff) << 6).to_le_bytes()[..3].to_vec(),
            Self::XtensaL32r => {
                let d = target.wrapping_sub((pc + 3) & !3) >> 2;
                (0x01 | r << 4 | (d & 0xffff) << 8).to_le_bytes()[..3].to_vec()
            }
            Self::Pointer32 => words(&[target]),
            Self::Pointer64 => u64::from(target).to_le_bytes().to_vec(),
            Self::Distance32 => words(&[distance]),
        }
    }

    /// Whether it stands in a table behind the code rather than in it.
    fn in_table(self) -> bool {
        matches!(self, Self::Pointer32 | Self::Pointer64 | Self::Distance32)
    }

    /// Whether it names a word of the literals in front of the code.
    fn of_literals(self) -> bool {
        self == Self::XtensaL32r
    }
}

/// What is linked, in order.
enum Item {
    Plain(Vec<u8>),
    /// A field, what it names (a function or a literal), and what varies its look.
    Field(Field, usize, u32),
}

/// A program before it is linked.
pub struct Program {
    set: Set,
    literals: Vec<[u8; 4]>,
    functions: Vec<Vec<Item>>,
    table: Vec<(Field, usize)>,
}

impl Program {
    /// Some 130 functions with calls and `count` fields of a kind.
    pub fn new(set: Set, field: Field, count: usize) -> Self {
        Self::of(130, set, field, count)
    }

    /// The same with another number of functions.
    pub fn of(number: usize, set: Set, field: Field, count: usize) -> Self {
        let mut dice = Dice(0x5eed_0001 + field as u64 * 977);
        let mut functions: Vec<Vec<Item>> = Vec::new();
        let in_code = if field.in_table() { 0 } else { count };
        for function in 0..number {
            let mut items = Vec::new();
            if set == Set::Xtensa {
                items.push(Item::Plain(vec![0x36, 0x41, 0x00]));
            }
            for step in 0..24 {
                (0..1 + dice.roll(3)).for_each(|_| items.push(Item::Plain(set.plain(&mut dice))));
                // A few functions are called from everywhere.
                if step % 12 == 5 {
                    items.push(Item::Field(set.call(), (3 + dice.roll(12) as usize * 9) % number, 0));
                }
                let slot = function * 24 + step;
                if slot * in_code / (24 * number) != (slot + 1) * in_code / (24 * number) {
                    items.push(Item::Field(field, dice.roll(number as u32) as usize, dice.roll(8)));
                }
            }
            functions.push(items);
        }
        let literals = (0..number).map(|_| dice.roll(u32::MAX).to_le_bytes()).collect();
        let table = if field.in_table() {
            (0..count).map(|_| (field, dice.roll(number as u32) as usize)).collect()
        } else {
            Vec::new()
        };
        Self { set, literals, functions, table }
    }

    /// The same program with code put in between: `(before which function, bytes)`.
    pub fn link(&self, address: u32, inserted: &[(usize, usize)]) -> Vec<u8> {
        let mut dice = Dice(77);
        // Where everything is.
        let mut at = self.literals.len() * 4;
        let mut starts = Vec::new();
        let mut fillers = Vec::new();
        let size = |item: &Item| match item {
            Item::Plain(bytes) => bytes.len(),
            Item::Field(field, _, register) => field.bytes(0, 0, *register).len(),
        };
        for (number, items) in self.functions.iter().enumerate() {
            let extra: usize = inserted.iter().filter(|(place, _)| *place == number).map(|(_, bytes)| bytes).sum();
            fillers.push(extra);
            at = (at + extra).next_multiple_of(4);
            starts.push(at);
            at += items.iter().map(size).sum::<usize>();
        }
        let mut image: Vec<u8> = self.literals.concat();
        for (items, (&start, &extra)) in self.functions.iter().zip(starts.iter().zip(&fillers)) {
            let until = image.len() + extra;
            while image.len() + 4 <= until {
                image.extend(self.set.plain(&mut dice));
            }
            image.resize(start, 0);
            for item in items {
                let pc = address + image.len() as u32;
                match item {
                    Item::Plain(bytes) => image.extend(bytes),
                    Item::Field(field, name, register) => {
                        let target = if field.of_literals() { name * 4 } else { starts[*name] };
                        image.extend(field.bytes(pc, address + target as u32, *register));
                    }
                }
            }
        }
        image.resize(image.len().next_multiple_of(8), 0);
        for (field, name) in &self.table {
            let pc = address + image.len() as u32;
            image.extend(field.bytes(pc, address + starts[*name] as u32, 0));
        }
        image
    }
}
