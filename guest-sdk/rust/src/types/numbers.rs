//! Integers and floats.

use super::FixedWidth;
use super::fixed::fixed_width_value;

macro_rules! number {
    ($($type:ty, $format:literal;)*) => {
        $(
            impl FixedWidth<{ size_of::<$type>() }> for $type {
                fn format() -> String {
                    $format.to_owned()
                }

                #[inline(always)]
                fn decode(bytes: [u8; size_of::<$type>()]) -> Self {
                    Self::from_le_bytes(bytes)
                }

                #[inline(always)]
                fn encode(&self) -> [u8; size_of::<$type>()] {
                    self.to_le_bytes()
                }
            }
            fixed_width_value!([] $type, size_of::<$type>());
        )*
    };
}

number! {
    i8, "c";
    i16, "s";
    i32, "i";
    i64, "l";
    u8, "C";
    u16, "S";
    u32, "I";
    u64, "L";
    Float16, "e";
    f32, "f";
    f64, "g";
}

/// A float of 16 bits (IEEE 754 binary16), kept as its bits. Compared as bits, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Float16(
    /// Sign, five bits of exponent, ten of fraction.
    pub u16,
);

impl Float16 {
    /// The same number with 32 bits. Exact.
    pub fn to_f32(self) -> f32 {
        let sign = if self.0 >> 15 == 1 { -1.0 } else { 1.0 };
        let exponent = i32::from(self.0 >> 10 & 0x1f);
        let fraction = f32::from(self.0 & 0x3ff);
        match exponent {
            0 => sign * fraction * 2f32.powi(-24),
            0x1f if fraction == 0.0 => sign * f32::INFINITY,
            0x1f => f32::NAN,
            _ => sign * (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
        }
    }

    /// The nearest number of 16 bits, ties to even; infinity beyond 65,504.
    pub fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let sign = (bits >> 16 & 0x8000) as u16;
        let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
        let fraction = bits & 0x007f_ffff;
        if value.is_nan() {
            return Self(sign | 0x7e00);
        }
        if exponent >= 0x1f {
            return Self(sign | 0x7c00);
        }
        if exponent < -10 {
            return Self(sign);
        }
        // A subnormal result keeps the leading one in its fraction. Rounding may carry into the
        // exponent, which is what the format wants.
        let (kept, dropped_bits) = if exponent > 0 {
            ((exponent as u32) << 23 | fraction, 13)
        } else {
            (fraction | 0x0080_0000, (14 - exponent) as u32)
        };
        let half = 1u32 << (dropped_bits - 1);
        let dropped = kept & ((1 << dropped_bits) - 1);
        let mut rounded = kept >> dropped_bits;
        if dropped > half || (dropped == half && rounded & 1 == 1) {
            rounded += 1;
        }
        Self(sign | rounded as u16)
    }

    fn from_le_bytes(bytes: [u8; 2]) -> Self {
        Self(u16::from_le_bytes(bytes))
    }

    fn to_le_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }
}
