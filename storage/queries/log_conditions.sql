-- Pieces of conditions on logs (storage/log_labels.py, storage/log_conditions.py), in ClickHouse's dialect. A $placeholder is
-- another piece, or the {name:Type} of a bound parameter, never a value. What they mean, and that logql/ means the same, is in
-- docs/logql.md.

-- name: json_walk_first_step
-- A walk holds (names so far, name that is left, JSON or text, type); "" is left where it has arrived. It goes from an object to
-- those members whose name is what is left, or its begin up to a joint; $named makes a part of a label of a key. What is written
-- twice is analyzed twice, so expressions are the arguments of functions over arrays of one.
arrayMap(
    found -> ([found.1], substring($name, length(found.2) + 2), found.3, JSONType($json, found.4)),
    arrayFilter(
        found -> found.1 != '' AND (found.2 = $name OR (startsWith($name, concat(found.2, $joint)) AND length($name) > length(found.2) + 1)),
        arrayFlatten(arrayMap(
            members -> arrayMap(
                (member, number, first) -> (if(first = number, member.1, ''), $named, member.2, number),
                members,
                arrayEnumerate(members),
                arrayMap(key -> indexOf(members.1, key), members.1)),
            [CAST(JSONExtract($json, 'Map(String, String)'), 'Array(Tuple(String, String))')]))));

-- name: json_walk_step
arrayFlatten(arrayMap(
    at -> if(at.2 = '' OR at.4 != 'Object', [at], arrayMap(
        found -> (arrayPushBack(at.1, found.1), substring(at.2, length(found.2) + 2), found.3, JSONType(at.3, found.4)),
        arrayFilter(
            found -> found.1 != '' AND (found.2 = at.2 OR (startsWith(at.2, concat(found.2, $joint)) AND length(at.2) > length(found.2) + 1)),
            arrayFlatten(arrayMap(
                members -> arrayMap(
                    (member, number, first) -> (if(first = number, member.1, ''), $named, member.2, number),
                    members,
                    arrayEnumerate(members),
                    arrayMap(key -> indexOf(members.1, key), members.1)),
                [CAST(JSONExtract(at.3, 'Map(String, String)'), 'Array(Tuple(String, String))')]))))),
    $walk));

-- name: json_walk_text
-- Of the members that it arrived at, the text of that with the smallest path.
if($possible, arrayElement(arraySort(at -> at.1, arrayMap(
    at -> (at.1, if(at.4 = 'Double' AND at.3 = '-0', '0', at.3)),
    arrayFilter(at -> at.2 = '' AND at.4 IN ('String', 'Int64', 'UInt64', 'Double', 'Bool'), $walk))), 1).2, '');

-- name: json_walk_exists
if($possible, arrayExists(at -> at.2 = '' AND at.4 != 'Null', $walk), 0);

-- name: name_as_it_is
member.1;

-- name: name_as_label
replaceRegexpAll(member.1, '[^A-Za-z0-9_]', '_');

-- name: name_as_first_label
-- A label does not begin with a digit.
concat(if(match(member.1, '^[0-9]'), '_', ''), replaceRegexpAll(member.1, '[^A-Za-z0-9_]', '_'));

-- name: json_escaped
-- Any character of a name may be written as \u and its number.
position($json, '\\u') > 0;

-- name: json_holds
position($json, $text) > 0;

-- name: json_type
JSONType($json, $path);

-- name: json_text
JSONExtractString($json, $path);

-- name: json_at
-- The text at a path, "" for what has none. A name that an object has twice is its first one, as in the walk.
if($possible AND $type IN ('String', 'Int64', 'UInt64', 'Double', 'Bool'), if($type = 'Double' AND $text = '-0', '0', $text), '');

-- name: json_is_array
JSONType($json$path) = 'Array';

-- name: first_text
arrayFirst(text -> text != '', [$texts]);

-- name: json_error
if(JSONType(message) = 'Object', '', 'JSONParserErr');

-- name: logfmt_value
-- What stands in quotes is read as JSON where it is that.
arrayElement(arrayMap(
    value -> multiIf(
        NOT startsWith(value, '"'), value,
        JSONType(value) = 'String', JSONExtractString(value),
        substring(value, 2, length(value) - 2)),
    [arrayElement(arrayFirst(pair -> $matches, extractAllGroupsVertical(message, $pairs)), 2)]), 1);

-- name: logfmt_is_label
concat(if(match(pair[1], '^[0-9]'), '_', ''), replaceRegexpAll(pair[1], '[^A-Za-z0-9_]', '_')) = $name;

-- name: logfmt_is_key
pair[1] = $name;

-- name: regexp_group
arrayElement(extractGroups(message, $pattern), $number);

-- name: attribute_equal
-- Of an attribute of one name with a text: the form that the index attributes_values serves (storage/queries/logs.sql).
attributes_map[$key] = $value;

-- name: where_equal
$text = $value;

-- name: where_match
match($text, $value);

-- name: where_contains
position($text, $value) > 0;

-- name: where_message_contains
-- The first one follows from the second, and is the form that the index of substrings serves; lower() knows ASCII only.
lower(message) LIKE $lowered AND position(message, $value) > 0;

-- name: where_not
NOT ($condition);

-- name: where_number
-- The text as JSON writes numbers; with an exponent, whole numbers of any length are read as doubles.
arrayExists(
    double -> match(double, $shape) AND JSONType(double) = 'Double' AND JSONExtractFloat(double) $op JSONExtractFloat($value),
    arrayMap(text -> if(match(text, '[eE]') OR text = '', text, concat(text, 'e0')), [$text]));

-- name: where_duration
-- Whole numbers, and each part bounded, so that nothing overflows; what is beyond the bound is no duration.
arrayExists(
    text -> length(text) <= $longest AND match(text, $shape)
        AND arrayAll(
            part -> toUInt64OrZero(part[1]) <= intDiv($part_max, $factor),
            extractAllGroupsVertical(text, $parts))
        AND if(startsWith(text, '-'), -1, 1) * arraySum(part -> $scaled, extractAllGroupsVertical(text, $parts)) $op $value,
    [$text]);

-- name: where_bytes
arrayExists(
    part -> length(part) = 3 AND has($units, lower(part[3])) AND toUInt64OrZero(part[1]) <= intDiv($part_max, $factor)
        AND $scaled $op $value,
    [extractGroups($text, $shape)]);

-- name: duration_factor
transform(part[3], $units, $factors, toInt64(1));

-- name: bytes_factor
transform(lower(part[3]), $units, $factors, toInt64(1));

-- name: scaled_part
-- The digits behind the point as doubles, as their product would not always fit.
toInt64(toUInt64OrZero(part[1])) * $factor
    + toInt64(floor(toFloat64(toUInt64OrZero(part[2])) * toFloat64($factor) / toFloat64(intExp10(length(part[2])))));
