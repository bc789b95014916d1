//! Decimals of 128 and 256 bits.

use super::FixedWidth;
use super::fixed::fixed_width_value;

/// A decimal number of at most `PRECISION` digits, `SCALE` of them behind the point: its value is
/// the integer in it, divided by 10 to the power of `SCALE`. `Decimal::<10, 2>(1234)` is 12.34.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const PRECISION: u8, const SCALE: i8>(
    /// The number, times 10 to the power of `SCALE`.
    pub i128,
);

impl<const PRECISION: u8, const SCALE: i8> Decimal<PRECISION, SCALE> {
    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 10f64.powi(i32::from(SCALE))
    }
}

impl<const PRECISION: u8, const SCALE: i8> FixedWidth<16> for Decimal<PRECISION, SCALE> {
    fn format() -> String {
        const {
            assert!(
                PRECISION >= 1 && PRECISION <= 38,
                "a Decimal has 1 to 38 digits; Decimal256 has up to 76"
            )
        };
        format!("d:{PRECISION},{SCALE}")
    }

    #[inline(always)]
    fn decode(bytes: [u8; 16]) -> Self {
        Self(i128::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn encode(&self) -> [u8; 16] {
        self.0.to_le_bytes()
    }
}
fixed_width_value!([const PRECISION: u8, const SCALE: i8] Decimal<PRECISION, SCALE>, 16);

/// A decimal number of at most `PRECISION` digits, `SCALE` of them behind the point, as its 32
/// bytes: a little-endian integer in two's complement, to be divided by 10 to the power of `SCALE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decimal256<const PRECISION: u8, const SCALE: i8>(
    /// The number, times 10 to the power of `SCALE`.
    pub [u8; 32],
);

impl<const PRECISION: u8, const SCALE: i8> FixedWidth<32> for Decimal256<PRECISION, SCALE> {
    fn format() -> String {
        const {
            assert!(
                PRECISION >= 1 && PRECISION <= 76,
                "a Decimal256 has 1 to 76 digits"
            )
        };
        format!("d:{PRECISION},{SCALE},256")
    }

    #[inline(always)]
    fn decode(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    #[inline(always)]
    fn encode(&self) -> [u8; 32] {
        self.0
    }
}
fixed_width_value!([const PRECISION: u8, const SCALE: i8] Decimal256<PRECISION, SCALE>, 32);
