//! What one minter has said to one teller: how much it takes of it for a height, see [`super::room`].

/// Heights that a word is good for: the one that it names, and so many after that if no newer one has come.
const GOOD_FOR: u64 = 2;

/// What one minter has said to one teller, of the newest two heights that were named: both keep it, and so know the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words([(u64, u64); 2]);

impl Words {
    /// It says how much it takes for a height.
    pub fn hear(&mut self, height: u64, room: u64) {
        let words = &mut self.0;
        let place = usize::from(words[1].0 < words[0].0);
        let place = words.iter().position(|word| word.0 == height).unwrap_or(place);
        if height >= words[place].0 {
            words[place] = (height, room);
        }
    }

    /// What was said of this height, or lately.
    pub fn of(&self, height: u64) -> Option<u64> {
        let good = self.0.iter().filter(|word| word.0 > 0 && word.0 <= height && word.0 + GOOD_FOR >= height);
        good.max_by_key(|word| word.0).map(|word| word.1)
    }

    /// What was said of this height itself.
    pub fn said(&self, height: u64) -> Option<u64> {
        self.0.iter().find(|word| word.0 > 0 && word.0 == height).map(|word| word.1)
    }

    /// Whether they are good for this height, or for one to come.
    pub fn is_good(&self, height: u64) -> bool {
        self.0.iter().any(|word| word.0 + GOOD_FOR >= height)
    }
}
