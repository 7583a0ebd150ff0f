// Apache Parquet, as little of it as a table of numbers and texts needs: one row group, one plain
// uncompressed page per column, every value optional. See parquet.apache.org, file format.

const MAGIC = [0x50, 0x41, 0x52, 0x31]; // PAR1
const PARQUET = {DOUBLE: 5, BYTE_ARRAY: 6, OPTIONAL: 1, UTF8: 0, PLAIN: 0, RLE: 3};

/** A file of columns: Float64Array (NaN missing) or arrays of texts (null missing). */
function parquetBytes({names, columns, nRows}) {
  const parts = [Uint8Array.from(MAGIC)];
  let offset = MAGIC.length;
  const chunks = columns.map((column) => {
    const values = pageOf(column, nRows);
    const header = thriftStruct([
      [1, 'i32', 0], [2, 'i32', values.length], [3, 'i32', values.length],
      [5, 'struct', [[1, 'i32', nRows], [2, 'i32', PARQUET.PLAIN], [3, 'i32', PARQUET.RLE],
        [4, 'i32', PARQUET.RLE]]],
    ]);
    const chunk = {offset, size: header.length + values.length, kind: kindOf(column)};
    parts.push(header, values);
    offset += chunk.size;
    return chunk;
  });
  const footer = footerOf(names, chunks, nRows);
  parts.push(footer, littleEndian(footer.length), Uint8Array.from(MAGIC));
  return new Blob(parts);
}

const kindOf = (column) =>
  (column instanceof Float64Array ? PARQUET.DOUBLE : PARQUET.BYTE_ARRAY);

function footerOf(names, chunks, nRows) {
  const root = [[4, 'text', 'schema'], [5, 'i32', names.length]];
  const leaves = names.map((name, i) => [
    [1, 'i32', chunks[i].kind], [3, 'i32', PARQUET.OPTIONAL], [4, 'text', name],
    ...(chunks[i].kind === PARQUET.BYTE_ARRAY ? [[6, 'i32', PARQUET.UTF8]] : []),
  ]);
  const columns = chunks.map(({offset, size, kind}, i) => [[2, 'i64', offset], [3, 'struct', [
    [1, 'i32', kind], [2, 'i32s', [PARQUET.PLAIN, PARQUET.RLE]], [3, 'texts', [names[i]]],
    [4, 'i32', 0], [5, 'i64', nRows], [6, 'i64', size], [7, 'i64', size], [9, 'i64', offset],
  ]]]);
  const total = chunks.reduce((sum, {size}) => sum + size, 0);
  return thriftStruct([
    [1, 'i32', 1], [2, 'structs', [root, ...leaves]], [3, 'i64', nRows],
    [4, 'structs', [[[1, 'structs', columns], [2, 'i64', total], [3, 'i64', nRows]]]],
    [6, 'text', 'hearing-analysis'],
  ]);
}

/** Definition levels (1 known, 0 missing) as one bit-packed run, then the known values. */
function pageOf(column, nRows) {
  const isNumber = column instanceof Float64Array;
  const known = (i) => (isNumber ? !Number.isNaN(column[i]) : !isMissing(column[i]));
  const groups = Math.ceil(nRows / 8);
  const bits = new Uint8Array(groups);
  const present = [];
  for (let i = 0; i < nRows; i++) {
    if (!known(i)) continue;
    bits[i >> 3] |= 1 << (i & 7);
    present.push(column[i]);
  }
  const run = [...varint(groups * 2 + 1)];
  return joinBytes([littleEndian(run.length + bits.length), Uint8Array.from(run), bits,
    isNumber ? new Uint8Array(Float64Array.from(present).buffer) : textBytes(present)]);
}

function textBytes(texts) {
  const encoder = new TextEncoder();
  return joinBytes(texts.flatMap((text) => {
    const bytes = encoder.encode(text);
    return [littleEndian(bytes.length), bytes];
  }));
}

function littleEndian(value) {
  return Uint8Array.from([value, value >>> 8, value >>> 16, value >>> 24]);
}

function joinBytes(parts) {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

// Thrift's compact protocol, as its repository describes it in doc/specs.

const THRIFT_TYPES = {i32: 5, i64: 6, text: 8, i32s: 9, texts: 9, structs: 9, struct: 12};

function thriftStruct(fields) {
  const bytes = [];
  let last = 0;
  for (const [id, type, value] of fields) {
    bytes.push(((id - last) << 4) | THRIFT_TYPES[type], ...thriftValue(type, value));
    last = id;
  }
  bytes.push(0);
  return Uint8Array.from(bytes);
}

function thriftValue(type, value) {
  if (type === 'i32' || type === 'i64') return varint(value * 2); // zigzag of what is not negative
  if (type === 'text') return thriftText(value);
  if (type === 'struct') return thriftStruct(value);
  const [item, code] = {i32s: ['i32', 5], texts: ['text', 8], structs: ['struct', 12]}[type];
  const head = value.length < 15 ? [(value.length << 4) | code]
    : [0xf0 | code, ...varint(value.length)];
  return [...head, ...value.flatMap((one) => [...thriftValue(item, one)])];
}

function thriftText(text) {
  const bytes = new TextEncoder().encode(text);
  return [...varint(bytes.length), ...bytes];
}

/** Seven bits a byte; division, for shifts would lose what exceeds 32 bits. */
function varint(value) {
  const bytes = [];
  while (value >= 128) {
    bytes.push((value % 128) + 128);
    value = Math.floor(value / 128);
  }
  return [...bytes, value];
}
