//! Numbers from their decimal text, exactly. Integers and decimals never pass through a float.

use arrow::datatypes::i256;

use super::super::scan::{not_digits, word};

/// An integer of at most 16 digits without fraction or exponent: nearly all of them. `None` for any other text.
///
/// `text[start..end]` is a JSON number. What stands behind it in `text` does not matter.
#[inline]
pub(super) fn short_integer(text: &[u8], start: usize, end: usize) -> Option<i64> {
    let negative = text.get(start) == Some(&b'-');
    let digits = start + usize::from(negative);
    let length = end.checked_sub(digits)?;
    let magnitude = match length {
        1..=8 => eight_digits(word(text, digits), length)?,
        9..=16 => {
            let high = eight_digits(word(text, digits), 8)?;
            let rest = length - 8;
            high * 10u64.pow(rest as u32) + eight_digits(word(text, digits + 8), rest)?
        }
        _ => return None,
    };
    let magnitude = magnitude.cast_signed();
    Some(if negative { -magnitude } else { magnitude })
}

/// The first `count` (1 to 8) bytes of a word as a number: neighbours are joined to pairs, pairs to fours, fours to eight.
/// After Johnny Lee, "Fast numeric string to int" (2018).
#[inline(always)]
fn eight_digits(word: u64, count: usize) -> Option<u64> {
    // Shifting the digits to the top puts zeros in front of them.
    let unused = 64 - 8 * count;
    if not_digits(word) << unused != 0 {
        return None;
    }
    let ones = (word ^ 0x3030_3030_3030_3030) << unused;
    let pairs = ones.wrapping_mul(10).wrapping_add(ones >> 8);
    let even = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let odd = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    Some(even.wrapping_add(odd) >> 32)
}

/// Why a number has no exact form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Loss {
    /// Digits that are not zero stand further behind the point than the type has places.
    Fraction,
    /// More digits than the type holds.
    Range,
}

/// The number times 10 to the power of `scale`, which must be an integer of at most `precision` (up to 76) digits.
/// `number` is a JSON number.
pub(in super::super) fn scaled(number: &[u8], precision: u8, scale: i8) -> Result<i256, Loss> {
    let (negative, unsigned) = match number {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, number),
    };
    let mantissa_end = unsigned
        .iter()
        .position(|b| matches!(b, b'e' | b'E'))
        .unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at(mantissa_end);
    let point = mantissa
        .iter()
        .position(|&b| b == b'.')
        .unwrap_or(mantissa.len());
    let whole = &mantissa[..point];
    let fraction = mantissa.get(point + 1..).unwrap_or_default();

    let digits = || whole.iter().chain(fraction).map(|b| b - b'0');
    let total = whole.len() + fraction.len();
    let leading = digits().take_while(|&d| d == 0).count();
    if leading == total {
        return Ok(i256::ZERO);
    }
    // The digits that remain left of the point after it has moved; beyond `total` they are zeros.
    let moved = whole.len() as i128 + exponent_of(exponent) + i128::from(scale);
    if moved - leading as i128 > i128::from(precision) {
        return Err(Loss::Range);
    }
    let kept = usize::try_from(moved).unwrap_or(0);
    if digits().skip(kept).any(|d| d != 0) {
        return Err(Loss::Fraction);
    }
    let ten = i256::from(10);
    let mut value = i256::ZERO;
    for digit in digits()
        .chain(std::iter::repeat(0))
        .take(kept)
        .skip(leading)
    {
        value = value
            .checked_mul(ten)
            .and_then(|v| v.checked_add(i256::from(i64::from(digit))))
            .ok_or(Loss::Range)?;
    }
    Ok(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// The value of `e+12`, `E-3` or nothing. So large an exponent that it does not fit is as good as the greatest.
fn exponent_of(exponent: &[u8]) -> i128 {
    let text = exponent.get(1..).unwrap_or_default();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let size = digits.iter().fold(0i64, |n, d| {
        n.saturating_mul(10).saturating_add(i64::from(d - b'0'))
    });
    if negative {
        -i128::from(size)
    } else {
        i128::from(size)
    }
}

/// An integer of any width. `1.0` and `1e3` are integers, `0.5` is none.
#[inline]
pub(super) fn integer<T: TryFrom<i64> + TryFrom<i128>>(
    text: &[u8],
    start: usize,
    end: usize,
) -> Result<T, Loss> {
    if let Some(short) = short_integer(text, start, end) {
        return T::try_from(short).map_err(|_| Loss::Range);
    }
    let long = scaled(&text[start..end], 38, 0)?
        .to_i128()
        .ok_or(Loss::Range)?;
    T::try_from(long).map_err(|_| Loss::Range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_are_read_as_the_standard_library_reads_them(text in "-?(0|[1-9][0-9]{0,21})", behind in ".{0,9}") {
            let line = format!("{text}{behind}");
            prop_assert_eq!(integer::<i64>(line.as_bytes(), 0, text.len()).ok(), text.parse::<i64>().ok());
            prop_assert_eq!(integer::<u8>(line.as_bytes(), 0, text.len()).ok(), text.parse::<i128>().ok().and_then(|i| i.try_into().ok()));
            prop_assert_eq!(
                integer::<u64>(line.as_bytes(), 0, text.len()).ok(),
                text.parse::<i128>().ok().and_then(|i| i.try_into().ok())
            );
        }

        #[test]
        fn decimals_survive_any_way_of_writing(digits in any::<i64>(), scale in 0..18i8, shift in -30..30i32) {
            // digits × 10^-scale, written with the point moved by an exponent.
            let text = format!("{digits}e{}", shift);
            let moved = i32::from(scale) + shift;
            let expected = if moved >= 0 {
                i128::from(digits).checked_mul(10i128.checked_pow(moved as u32).unwrap_or(0)).filter(|_| moved < 19)
            } else {
                let divisor = 10i128.pow(-moved as u32);
                (i128::from(digits) % divisor == 0).then(|| i128::from(digits) / divisor)
            };
            let found = scaled(text.as_bytes(), 38, scale).ok().and_then(|v| v.to_i128());
            if moved < 19 {
                prop_assert_eq!(found, expected, "{} at scale {}", text, scale);
            }
        }
    }
}
