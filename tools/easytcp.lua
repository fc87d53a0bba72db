-- A Wireshark dissector for the protocol of Net::EasyTCP: packets, flags and the negotiation. Messages
-- are shown as bytes; nothing is decrypted. The protocol is described in Net::EasyTCP::Protocol.
--
--     wireshark -X lua_script:tools/easytcp.lua
--     tshark -X lua_script:tools/easytcp.lua -i lo -f 'tcp port 2345' -O easytcp
--
-- A connection is known by its welcome packet. Where a capture begins later, where the server is older than
-- 0.06, and on ports that Wireshark believes to be another protocol's (2345 is kNet's), use "Decode As", or
-- -d tcp.port==2345,easytcp.

local easytcp = Proto("easytcp", "Net::EasyTCP")

local MODULES = {
    ["A"] = "Crypt::Rijndael", ["9"] = "Crypt::RC6", ["4"] = "Crypt::Blowfish", ["6"] = "Crypt::DES_EDE3",
    ["5"] = "Crypt::DES", ["C"] = "Crypt::Twofish2", ["D"] = "Crypt::Twofish", ["E"] = "Crypt::TEA",
    ["2"] = "Crypt::CipherSaber", ["B"] = "Crypt::RSA",
}
local COMPRESSORS = { ["1"] = "Compress::Zlib", ["2"] = "Compress::LZF" }

-- What the fields behind a tag are called, from the first to the last that has a name.
local TAGS = {
    VE = { what = "version", "Version" },
    EA = { what = "ciphers on offer", "Key", list = true },
    EU = { what = "cipher chosen", "Key", "Version" },
    EK = { what = "key string", "Key string" },
    EM = { what = "sample of a cipher", "Key", "Version", "Private key", "Sample" },
    EVF = { what = "versions of a cipher differ", "Version" },
    CA = { what = "compressors on offer", "Key", list = true },
    CU = { what = "compressor chosen", "Key", "Version" },
    CM = { what = "sample of a compressor", "Key", "Version", "Sample" },
    CVF = { what = "versions of a compressor differ", "Version" },
    CS = { what = "password wanted", "Salt" },
    CP = { what = "password", "Hash" },
    PF = { what = "password refused" },
    COS = { what = "compatibility scalar", "Scalar" },
    COF = { what = "not compatible", "Text" },
    SVE = { what = "version of Storable", "Version", "Image" },
    SVF = { what = "versions of Storable differ", "Version" },
    EN = { what = "end of the negotiation" },
    NO = { what = "not understood", "Text" },
}
local OFFER = { "Text", "Magic", "Version", "Ciphers", "Compressors", "Salt", "Key string", "Capabilities" }
local ANSWER = { "Text", "Magic", "Version", "Cipher", "Compressor", "Key string", "Hash", "Capabilities" }
local MAGIC = "ETCP1"

local f = easytcp.fields
f.flags = ProtoField.uint8("easytcp.flags", "Flags", base.HEX)
f.always = ProtoField.bool("easytcp.flags.always", "Always on", 8, nil, 0x01)
f.complex = ProtoField.bool("easytcp.flags.complex", "Complex: a Storable image", 8, nil, 0x02)
f.real = ProtoField.bool("easytcp.flags.real", "Real data: a message", 8, nil, 0x04)
f.encrypted = ProtoField.bool("easytcp.flags.encrypted", "Encrypted", 8, nil, 0x08)
f.compressed = ProtoField.bool("easytcp.flags.compressed", "Compressed", 8, nil, 0x10)
f.reserved = ProtoField.uint8("easytcp.flags.reserved", "Reserved", base.HEX, nil, 0xe0)
f.length_size = ProtoField.uint8("easytcp.length_size", "Length bytes")
f.length = ProtoField.uint32("easytcp.length", "Length")
f.payload = ProtoField.bytes("easytcp.payload", "Payload")
f.welcome = ProtoField.string("easytcp.welcome", "Welcome")
f.tag = ProtoField.string("easytcp.tag", "Tag")
f.field = ProtoField.string("easytcp.field", "Field")

local lost = ProtoExpert.new("easytcp.lost", "The first bit of the flags is clear: no packet begins here",
    expert.group.MALFORMED, expert.severity.ERROR)
easytcp.experts = { lost }

local tcp_stream = Field.new("tcp.stream")

-- By number of the TCP stream: { frame, offset } behind which all is TLS.
local switches = {}

function easytcp.init()
    switches = {}
end

-- Bytes behind this many are TLS in this frame, or nothing.
local function tls_from(pinfo)
    local stream = tcp_stream()
    local switch = stream and switches[stream.value]
    if not switch then return nil end
    if pinfo.number > switch.frame then return 0 end
    if pinfo.number == switch.frame then return switch.offset end
    return nil
end

-- ---- one packet --------------------------------------------------------------------------------------

-- The number of bytes of the packet at offset, and of its header; or the number that is still missing,
-- negative; or nothing, if no packet begins here.
local function measure(tvb, offset)
    local left = tvb:len() - offset
    if left < 2 then return -(2 - left) end
    if tvb(offset, 1):uint() % 2 == 0 then return nil end
    local size = tvb(offset + 1, 1):uint()
    if left < 2 + size then return -(2 + size - left) end
    local length = 0
    for i = 0, size - 1 do
        length = length * 256 + tvb(offset + 2 + i, 1):uint()
        if length > 0x7fffffff then return nil end
    end
    if left < 2 + size + length then return -(2 + size + length - left) end
    return 2 + size + length, 2 + size
end

-- The ranges of a payload's fields, which NUL bytes separate.
local function split(range)
    local bytes = range:bytes()
    local fields, start = {}, 0
    for i = 0, bytes:len() do
        if i == bytes:len() or bytes:get_index(i) == 0 then
            fields[#fields + 1] = i > start and range(start, i - start) or false
            start = i + 1
        end
    end
    return fields
end

local function text_of(field)
    return field and field:string(ENC_UTF_8) or ""
end

local function module_names(text, modules)
    local names = {}
    for key in text:gmatch(".") do names[#names + 1] = modules[key] or "?" end
    return table.concat(names, ", ")
end

local function explain(name, text, tag)
    if name == "Ciphers" or name == "Cipher" or (name == "Key" and tag:sub(1, 1) == "E") then
        return " (" .. module_names(text, MODULES) .. ")"
    elseif name == "Compressors" or name == "Compressor" or name == "Key" then
        return " (" .. module_names(text, COMPRESSORS) .. ")"
    end
    return ""
end

local function add_fields(tree, fields, names, tag)
    for i = 2, #fields do
        local name = names.list and "Key" or names[i - 1] or "More"
        if fields[i] then
            local text = text_of(fields[i])
            tree:add(f.field, fields[i]):set_text(name .. ": " .. text .. explain(name, text, tag))
        end
    end
end

local function add_negotiation(tree, range)
    local fields = split(range)
    local tag = text_of(fields[1])
    if fields[3] and text_of(fields[3]) == MAGIC and tag == "NO" then
        tree:add(f.tag, fields[1])
        add_fields(tree, fields, ANSWER, tag)
        return "NO, answer of version " .. text_of(fields[4]), text_of(fields[9])
    elseif TAGS[tag] then
        tree:add(f.tag, fields[1]):append_text(" (" .. TAGS[tag].what .. ")")
        add_fields(tree, fields, TAGS[tag], tag)
        return tag .. ", " .. TAGS[tag].what
    elseif tag:find("WELCOME MESSAGE", 1, true) then
        tree:add(f.welcome, fields[1])
        for i = 2, #fields do
            local text = text_of(fields[i])
            if fields[i] then
                local name = OFFER[i] or "More"
                tree:add(f.field, fields[i]):set_text(name .. ": " .. text .. explain(name, text, ""))
            end
        end
        return fields[2] and "welcome, offer of version " .. text_of(fields[3]) or "welcome"
    end
    tree:add(f.payload, range)
    return "command"
end

local function add_flags(tree, range)
    local flags = tree:add(f.flags, range)
    for _, bit in ipairs({ f.reserved, f.compressed, f.encrypted, f.real, f.complex, f.always }) do
        flags:add(bit, range)
    end
end

-- Returns a summary, and the capabilities if this is the answer of a short handshake.
local function add_packet(range, header, tree)
    local flags = range(0, 1):uint()
    local has = function(bit) return math.floor(flags / bit) % 2 == 1 end
    local transformed = has(8) or has(16)
    local summary, capabilities
    add_flags(tree, range(0, 1))
    tree:add(f.length_size, range(1, 1))
    if header > 2 and header <= 6 then tree:add(f.length, range(2, header - 2)) end
    local payload = range:len() > header and range(header)
    if not has(4) and not transformed and payload then
        summary, capabilities = add_negotiation(tree, payload)
    else
        summary = has(4) and (has(2) and "structure" or "message") or "command"
        if payload then tree:add(f.payload, payload) end
    end
    if has(8) then summary = summary .. ", encrypted" end
    if has(16) then summary = summary .. ", compressed" end
    return summary, capabilities
end

-- ---- a segment ---------------------------------------------------------------------------------------

function easytcp.dissector(tvb, pinfo, tree)
    local offset, summaries = 0, {}
    pinfo.cols.protocol = "EasyTCP"
    while offset < tvb:len() do
        if tls_from(pinfo) and offset >= tls_from(pinfo) then
            Dissector.get("tls"):call(tvb(offset):tvb(), pinfo, tree)
            return tvb:len()
        end
        local size, header = measure(tvb, offset)
        if not size then
            tree:add(easytcp, tvb(offset)):add_proto_expert_info(lost)
            return tvb:len()
        elseif size < 0 then
            pinfo.desegment_offset = offset
            pinfo.desegment_len = header and -size
                or (tvb:len() - offset < 2 and DESEGMENT_ONE_MORE_SEGMENT or -size)
            break
        end
        local packet = tree:add(easytcp, tvb(offset, size))
        local summary, capabilities = add_packet(tvb(offset, size), header, packet)
        packet:append_text(", " .. summary)
        summaries[#summaries + 1] = summary
        offset = offset + size
        local stream = tcp_stream()
        if capabilities and capabilities:find("T1", 1, true) and stream and not switches[stream.value] then
            switches[stream.value] = { frame = pinfo.number, offset = offset }
        end
    end
    if #summaries > 0 then pinfo.cols.info = table.concat(summaries, "; ") end
    return tvb:len()
end

-- The first packet of a connection is the welcome, in clear and not short.
local function is_welcome(tvb)
    if tvb:len() < 30 or tvb(0, 1):uint() ~= 1 then return false end
    local size = tvb(1, 1):uint()
    if size < 1 or size > 4 then return false end
    local head = tvb(2 + size, math.min(tvb:len() - 2 - size, 80)):string()
    return head:find("-----BEGIN CLEARTEXT WELCOME MESSAGE-----", 1, true) ~= nil
end

easytcp:register_heuristic("tcp", function(tvb, pinfo, tree)
    if not is_welcome(tvb) then return false end
    easytcp.dissector(tvb, pinfo, tree)
    pinfo.conversation = easytcp
    return true
end)

DissectorTable.get("tcp.port"):add_for_decode_as(easytcp)
