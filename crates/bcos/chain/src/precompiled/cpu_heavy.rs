//! Sorting as a load for benches (0x5200 and on).

use super::abi::{Uint, decode};
use super::registry::Methods;
use super::{Answer, Call, Failure};

pub(super) const METHODS: Methods = &[("sort(uint256,uint256)", sort)];

/// Numbers that can be sorted in one call: more would let anyone stop the chain for seconds.
const MOST_NUMBERS: u32 = 1_000_000;

/// Sorts so many numbers that are in reverse order; answers nothing.
fn sort(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (size, _) = decode::<(Uint<256>, Uint<256>)>(data)?;
    let size = u32::try_from(size).ok().filter(|size| *size <= MOST_NUMBERS);
    let Some(size) = size else {
        return Err(Failure::Refused(format!("sort takes at most {MOST_NUMBERS} numbers")));
    };
    call.charge(u64::from(size) * 10);
    let mut numbers: Vec<u32> = (1..=size).rev().collect();
    quicksort(&mut numbers);
    // The work must not be left out because nobody looks at it.
    std::hint::black_box(&numbers);
    Ok(Vec::new())
}

/// The library's sort sees a reversed run and only turns it.
fn quicksort(numbers: &mut [u32]) {
    if numbers.len() < 2 {
        return;
    }
    let pivot = numbers[(numbers.len() - 1) / 2];
    let (mut left, mut right) = (0_isize, numbers.len() as isize - 1);
    while left <= right {
        while numbers[left as usize] < pivot {
            left += 1;
        }
        while pivot < numbers[right as usize] {
            right -= 1;
        }
        if left <= right {
            numbers.swap(left as usize, right as usize);
            left += 1;
            right -= 1;
        }
    }
    let (low, rest) = numbers.split_at_mut((right + 1).max(0) as usize);
    let start = left as usize - low.len();
    quicksort(low);
    quicksort(&mut rest[start..]);
}

#[cfg(test)]
mod tests {
    use super::quicksort;

    #[test]
    fn it_sorts() {
        let mut numbers: Vec<u32> = (0..500).map(|n| n * 7919 % 257).collect();
        let mut expected = numbers.clone();
        expected.sort_unstable();
        quicksort(&mut numbers);
        assert_eq!(numbers, expected);
        let mut few = [2, 1];
        quicksort(&mut few);
        assert_eq!(few, [1, 2]);
    }
}
