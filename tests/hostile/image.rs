//! Values of the contract laid out in a guest's memory, as the canonical ABI of components has them
//! (component-model/design/mvp/CanonicalABI.md).

/// Where static data begins; the first page below is the guest's own.
const BASE: u32 = 1024;

/// A column as `open` names it, in pre-order: name, format, whether it may be null, children.
#[derive(Debug, Clone)]
pub(crate) struct Field(
    pub(crate) String,
    pub(crate) String,
    pub(crate) bool,
    pub(crate) u32,
);

pub(crate) fn field(name: &str, format: &str, children: u32) -> Field {
    Field(name.into(), format.into(), false, children)
}

/// Columns: how many rows they claim, and their buffers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cols {
    pub(crate) rows: u32,
    pub(crate) buffers: Vec<Vec<u8>>,
}

pub(crate) fn cols<const N: usize>(rows: u32, buffers: [&[u8]; N]) -> Cols {
    Cols {
        rows,
        buffers: buffers.iter().map(|buffer| buffer.to_vec()).collect(),
    }
}

/// A refused row: its number, code and detail.
pub(crate) type Reject = (u32, String, String);

/// What `open-windowed` or `open-mapper` says.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) event: String,
    pub(crate) needs: Vec<String>,
    pub(crate) state: Vec<Field>,
    /// What is said of the first columns beside their types.
    pub(crate) metadata: Vec<(String, String)>,
    /// The versions whose states it takes over; its own is 1.
    pub(crate) takes: Vec<u32>,
    pub(crate) initial: Cols,
    pub(crate) output: Vec<Field>,
}

/// Static memory that grows as values are laid out in it.
#[derive(Debug, Default)]
pub(crate) struct Image(Vec<u8>);

/// The bytes of a record: numbers and pointers of 32 bits.
type Words = Vec<u32>;

impl Image {
    /// Where it begins, and the bytes.
    pub(crate) fn data(&self) -> (u32, &[u8]) {
        (BASE, &self.0)
    }

    /// The first address behind it, with room for what a guest stores by itself.
    pub(crate) fn end(&self) -> u32 {
        (BASE + self.0.len() as u32 + 4096).next_multiple_of(16)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> [u32; 2] {
        self.0.resize(self.0.len().next_multiple_of(16), 0);
        let at = BASE + self.0.len() as u32;
        self.0.extend_from_slice(bytes);
        [at, bytes.len() as u32]
    }

    fn words(&mut self, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.bytes(&bytes)[0]
    }

    fn list(&mut self, items: &[Words]) -> [u32; 2] {
        [self.words(&items.concat()), items.len() as u32]
    }

    fn strings(&mut self, strings: &[String]) -> [u32; 2] {
        let items: Vec<Words> = strings
            .iter()
            .map(|string| self.bytes(string.as_bytes()).to_vec())
            .collect();
        self.list(&items)
    }

    /// Columns as `open` names them; all metadata is the first one's.
    fn schema(&mut self, fields: &[Field], metadata: &[(String, String)]) -> [u32; 2] {
        let entries: Vec<Words> = metadata
            .iter()
            .map(|(key, value)| [self.bytes(key.as_bytes()), self.bytes(value.as_bytes())].concat())
            .collect();
        let mut metadata = self.list(&entries);
        let items: Vec<Words> = fields
            .iter()
            .map(|Field(name, format, nullable, children)| {
                let (name, format) = (self.bytes(name.as_bytes()), self.bytes(format.as_bytes()));
                let metadata = std::mem::take(&mut metadata);
                let flags = [u32::from(*nullable), *children];
                [&name[..], &format[..], &flags, &metadata].concat()
            })
            .collect();
        self.list(&items)
    }

    fn columns(&mut self, columns: &Cols) -> Words {
        let buffers = columns.buffers.iter();
        let items: Vec<Words> = buffers.map(|buffer| self.bytes(buffer).to_vec()).collect();
        let buffers = self.list(&items);
        [&[columns.rows][..], &buffers[..]].concat()
    }

    fn rejects(&mut self, rejects: &[Reject]) -> [u32; 2] {
        let items: Vec<Words> = rejects
            .iter()
            .map(|(row, code, detail)| {
                let (code, detail) = (self.bytes(code.as_bytes()), self.bytes(detail.as_bytes()));
                [&[*row][..], &code[..], &detail[..]].concat()
            })
            .collect();
        self.list(&items)
    }

    /// A `result` that is fine: its address.
    fn okay(&mut self, payload: &[u32]) -> u32 {
        self.words(&[&[0][..], payload].concat())
    }

    fn needs(&mut self, spec: &Spec) -> [u32; 2] {
        let (event, columns) = (self.bytes(spec.event.as_bytes()), self.strings(&spec.needs));
        self.list(&[[event, columns].concat()])
    }

    pub(crate) fn windowed_spec(&mut self, spec: &Spec) -> u32 {
        let needs = self.needs(spec);
        let (state, initial) = (
            self.schema(&spec.state, &spec.metadata),
            self.columns(&spec.initial),
        );
        let output = self.schema(&spec.output, &spec.metadata);
        let takes = [self.words(&spec.takes), spec.takes.len() as u32];
        let payload = [&needs[..], &state, &[1], &takes, &initial, &output, &[0, 0]];
        self.okay(&payload.concat())
    }

    pub(crate) fn mapper_spec(&mut self, spec: &Spec) -> u32 {
        let (needs, output) = (self.needs(spec), self.schema(&spec.output, &spec.metadata));
        self.okay(&[&needs[..], &output, &[0, 0]].concat())
    }

    /// What `accumulate` returns.
    pub(crate) fn updated(
        &mut self,
        states: &Cols,
        changed: Option<&[u8]>,
        rejects: &[Reject],
    ) -> u32 {
        let states = self.columns(states);
        let changed = match changed {
            None => vec![0, 0, 0],
            Some(changed) => [&[1][..], &self.bytes(changed)].concat(),
        };
        let rejects = self.rejects(rejects);
        self.okay(&[&states[..], &changed, &rejects].concat())
    }

    /// What `merge-states` and `migrate-states` return.
    pub(crate) fn merged(&mut self, states: &Cols) -> u32 {
        let states = self.columns(states);
        self.okay(&states)
    }

    /// What `finish-groups` returns.
    pub(crate) fn finished(&mut self, output: &Cols, source_group: &[u8]) -> u32 {
        let (output, source) = (self.columns(output), self.bytes(source_group));
        self.okay(&[&output[..], &source].concat())
    }

    /// What `map-rows` returns.
    pub(crate) fn mapped(&mut self, output: &Cols, source_row: &[u8], rejects: &[Reject]) -> u32 {
        let (output, source) = (self.columns(output), self.bytes(source_row));
        let rejects = self.rejects(rejects);
        self.okay(&[&output[..], &source, &rejects].concat())
    }

    /// A failure that the guest owns up to.
    pub(crate) fn failure(&mut self, message: &str) -> u32 {
        let message = self.bytes(message.as_bytes());
        self.words(&[1, 2, message[0], message[1]])
    }
}
