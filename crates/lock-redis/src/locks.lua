-- The locks of one namespace: every operation is one call of this script, decided in the server's time.
-- What is granted to whom is what `domain::lock` says; the names here are those of its rows.
--
-- KEYS[1] is the prefix of every key:
--   l  hash: id -> row            t  hash: token -> id
--   p  sorted set of "path\0id" of those that are held or wait
--   h  sorted set of "holder\0id" of all rows
--   g  sorted set of ids that were taken away, by when they can be forgotten
--   n  the last number that was given out      s  hash: totals
-- ARGV: the operation, its arguments as JSON, and a time after which it must not be carried out (or 0).
--
-- Numbers of requests and grants are texts of digits: they are more than a JSON encoder here keeps.

local P = KEYS[1]
local KL, KT, KP, KH, KG, KN, KS = P .. 'l', P .. 't', P .. 'p', P .. 'h', P .. 'g', P .. 'n', P .. 's'
local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(micros / 1000)
local args = cjson.decode(ARGV[2])
local WAITER_LEASE, GONE_KEPT, WAITERS_MAX = 5000, 60000, 1000

local late = tonumber(ARGV[3])
if late > 0 and now > late then
  return cjson.encode({ now = now, late = true })
end

local rows, last, counted, longest = {}, nil, {}, {}

local function count(name, by)
  counted[name] = (counted[name] or 0) + by
end

local function at_most(name, value)
  longest[name] = math.max(longest[name] or 0, value)
end

local function next_number()
  if not last then
    last = tonumber(redis.call('GET', KN) or '0')
  end
  last = math.max(micros, last + 1)
  redis.call('SET', KN, string.format('%.0f', last))
  return string.format('%.0f', last)
end

local function row(id)
  local known = rows[id]
  if known == nil then
    local text = redis.call('HGET', KL, id)
    known = text and cjson.decode(text) or false
    rows[id] = known
  end
  return known or nil
end

local function put(lock)
  rows[lock.i] = lock
  redis.call('HSET', KL, lock.i, cjson.encode(lock))
end

local function path_of(resource)
  if string.sub(resource, -1) == '/' then
    return string.sub(resource, 1, -2), true
  end
  return resource, false
end

local function is_beneath(path, above)
  return #path > #above and string.sub(path, 1, #above + 1) == above .. '/'
end

local function overlaps(a, b)
  local pa, ta = path_of(a)
  local pb, tb = path_of(b)
  return pa == pb or (ta and is_beneath(pb, pa)) or (tb and is_beneath(pa, pb))
end

local function covers(a, b)
  local pa, ta = path_of(a)
  local pb, tb = path_of(b)
  if pa == pb then
    return ta or not tb
  end
  return ta and is_beneath(pb, pa)
end

local function any_overlap(some, others)
  for _, a in ipairs(some) do
    for _, b in ipairs(others) do
      if overlaps(a, b) then
        return b
      end
    end
  end
  return nil
end

local function insert(lock)
  put(lock)
  for _, resource in ipairs(lock.r) do
    redis.call('ZADD', KP, 0, (path_of(resource)) .. '\0' .. lock.i)
  end
  redis.call('ZADD', KH, 0, lock.h .. '\0' .. lock.i)
end

local function unlist(lock)
  for _, resource in ipairs(lock.r) do
    redis.call('ZREM', KP, (path_of(resource)) .. '\0' .. lock.i)
  end
end

local function drop(lock)
  unlist(lock)
  rows[lock.i] = false
  redis.call('HDEL', KL, lock.i)
  redis.call('ZREM', KH, lock.h .. '\0' .. lock.i)
  if lock.T then
    redis.call('HDEL', KT, lock.T)
  end
end

local function before(a, b)
  if a.k ~= b.k then
    return a.k < b.k
  end
  return tonumber(a.i) < tonumber(b.i)
end

local function members(key, from, to, found)
  for _, member in ipairs(redis.call('ZRANGEBYLEX', key, from, to)) do
    local id = string.match(member, '%z(%d+)$')
    if id then
      found[id] = true
    end
  end
end

-- Those that are held or wait, of which something is part of one of these; oldest first.
local function overlapping(resources)
  local found = {}
  for _, resource in ipairs(resources) do
    local path, is_tree = path_of(resource)
    local above = path
    while above do
      members(KP, '[' .. above .. '\0', '(' .. above .. '\1', found)
      above = string.match(above, '^(.*)/[^/]*$')
    end
    if is_tree then
      members(KP, '[' .. path .. '/', '(' .. path .. '0', found)
    end
  end
  local here = {}
  for id in pairs(found) do
    local lock = row(id)
    if lock and any_overlap(lock.r, resources) then
      here[#here + 1] = lock
    end
  end
  table.sort(here, function(a, b) return tonumber(a.i) < tonumber(b.i) end)
  return here
end

local function is_over(lock)
  if lock.s == 'w' then
    return lock.al <= now or lock.gu <= now
  end
  return lock.u <= now
end

local function is_against(other, lock)
  if other.m == 'shared' and lock.m == 'shared' then
    return false
  end
  return any_overlap(other.r, lock.r) ~= nil
end

local function in_the_way(lock)
  local found = {}
  for _, other in ipairs(overlapping(lock.r)) do
    local counts = other.s == 'h' or (other.s == 'w' and before(other, lock))
    if counts and other.i ~= lock.i and not is_over(other) and is_against(other, lock) then
      found[#found + 1] = other
    end
  end
  return found
end

local function blockers(lock)
  local found = in_the_way(lock)
  table.sort(found, function(a, b)
    if a.s ~= b.s then
      return a.s == 'h'
    end
    return before(a, b)
  end)
  local by = {}
  for _, other in ipairs(found) do
    by[#by + 1] = {
      holder = other.H,
      mode = other.m,
      resource = any_overlap(other.r, lock.r),
      waits = other.s == 'w',
    }
  end
  return by
end

local function wake(lock)
  if lock.wk then
    redis.call('PUBLISH', lock.wk, lock.i)
  end
end

local function hold(millis)
  count('held_millis', millis)
  at_most('longest_hold_millis', millis)
end

local function grant(lock, lease, has_waited)
  local is_new = rows[lock.i] == nil
  lock.s, lock.T, lock.d, lock.u, lock.si = 'h', next_number(), 1, now + lease, now
  lock.wm = has_waited and math.max(0, now - lock.a) or 0
  lock.al, lock.gu = nil, nil
  if is_new then
    insert(lock)
  else
    put(lock)
  end
  redis.call('HSET', KT, lock.T, lock.i)
  count('granted', 1)
  if has_waited then
    count('waited', 1)
    count('wait_millis', lock.wm)
    at_most('longest_wait_millis', lock.wm)
    wake(lock)
  end
end

local function take_away(lock, why)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KG, '-inf', now, 'LIMIT', 0, 20)) do
    redis.call('ZREM', KG, id)
    local old = row(id)
    if old then
      drop(old)
    end
  end
  if lock.s == 'h' then
    hold(now - lock.si)
  end
  lock.s, lock.y, lock.u = 'g', why, now + GONE_KEPT
  unlist(lock)
  put(lock)
  redis.call('ZADD', KG, lock.u, lock.i)
  if why.why == 'expired' then
    count('expired', 1)
  elseif why.why == 'deadlock' then
    count('deadlocks', 1)
  else
    count('forced', 1)
  end
  wake(lock)
end

local function leave_queue(lock, timed_out)
  drop(lock)
  count(timed_out and 'timed_out' or 'left', 1)
end

local function append(all, more)
  for _, one in ipairs(more) do
    all[#all + 1] = one
  end
end

-- Ends what is over, there and wherever else those that wait there wait; says what that frees.
local function end_what_is_over(resources)
  local places = {}
  append(places, resources)
  local first = overlapping(resources)
  local is_wider = false
  for _, lock in ipairs(first) do
    if lock.s == 'w' and #lock.r > 1 then
      append(places, lock.r)
      is_wider = true
    end
  end
  local freed = {}
  for _, lock in ipairs(is_wider and overlapping(places) or first) do
    if is_over(lock) then
      append(freed, lock.r)
      if lock.s == 'h' then
        take_away(lock, { why = 'expired' })
      else
        leave_queue(lock, lock.gu <= now)
      end
    end
  end
  return freed
end

local function grant_what_is_free(resources)
  local queue = {}
  for _, lock in ipairs(overlapping(resources)) do
    if lock.s == 'w' then
      queue[#queue + 1] = lock
    end
  end
  table.sort(queue, before)
  local ahead = {}
  for _, lock in ipairs(queue) do
    local is_behind = false
    for _, other in ipairs(ahead) do
      is_behind = is_behind or is_against(other, lock)
    end
    if not is_behind and #in_the_way(lock) == 0 then
      grant(lock, math.min(lock.t, WAITER_LEASE), true)
    end
    ahead[#ahead + 1] = lock
  end
end

local function settle(resources)
  local open = resources
  while #open > 0 do
    local freed = end_what_is_over(open)
    grant_what_is_free(open)
    open = freed
  end
end

local function refuse(refused)
  if refused.refused == 'busy' or refused.refused == 'queue_full' then
    count('conflicts', 1)
    count('refused', 1)
  end
  return { refused = refused }
end

local function answer(lock)
  local by = lock.s == 'w' and blockers(lock) or {}
  return { lock = lock, by = #by > 0 and by or nil }
end

local function not_held(token, why)
  return { refused = { refused = 'not_held', token = token, why = why } }
end

-- The lock of a token that is held and not over; else the refusal.
local function held(token)
  local id = redis.call('HGET', KT, token)
  local lock = id and row(id)
  if not lock then
    return nil, not_held(token, nil), nil
  end
  if lock.s == 'g' then
    return nil, not_held(token, lock.y), lock
  end
  if lock.s ~= 'h' then
    return nil, not_held(token, nil), lock
  end
  if is_over(lock) then
    return nil, not_held(token, { why = 'expired' }), lock
  end
  return lock, nil, lock
end

local function with_holder(holder)
  local found, locks = {}, {}
  members(KH, '[' .. holder .. '\0', '(' .. holder .. '\1', found)
  for id in pairs(found) do
    local lock = row(id)
    if lock and lock.h == holder then
      locks[#locks + 1] = lock
    end
  end
  table.sort(locks, function(a, b) return tonumber(a.i) < tonumber(b.i) end)
  return locks
end

-- Follows what `lock` waits for until that leads back to `start`; then `path` is the circle.
local function walk(lock, start, seen, path)
  if seen[lock.i] then
    return false
  end
  seen[lock.i] = true
  for _, other in ipairs(in_the_way(lock)) do
    if other.h ~= lock.h then
      path[#path + 1] = { lock = lock, holder = lock.H, resource = any_overlap(other.r, lock.r) }
      if other.h == start then
        return true
      end
      for _, waiting in ipairs(with_holder(other.h)) do
        if waiting.s == 'w' and walk(waiting, start, seen, path) then
          return true
        end
      end
      path[#path] = nil
    end
  end
  return false
end

local function circle_of(lock)
  local path = {}
  if walk(lock, lock.h, {}, path) then
    return path
  end
  return nil
end

-- Refuses requests until a holder is in no circle, which may hit its newest one. A circle closes
-- through what a holder waits for, or through another request of it that has come to stand in
-- somebody's way.
local function break_circles(holder)
  while true do
    local path
    for _, lock in ipairs(with_holder(holder)) do
      if not path and lock.s == 'w' then
        path = circle_of(lock)
      end
    end
    if not path then
      return
    end
    local at = 1
    for n, step in ipairs(path) do
      local worst = path[at].lock
      if step.lock.p < worst.p or (step.lock.p == worst.p and tonumber(step.lock.i) > tonumber(worst.i)) then
        at = n
      end
    end
    local cycle = {}
    for n = 0, #path - 1 do
      local step = path[(at - 1 + n) % #path + 1]
      cycle[#cycle + 1] = { holder = step.holder, resource = step.resource }
    end
    local victim = path[at].lock
    take_away(victim, { why = 'deadlock', cycle = cycle })
    settle(victim.r)
  end
end

local function enter(ask)
  local lock, refused = held(ask.T)
  if not lock then
    return refused
  end
  for _, resource in ipairs(ask.r) do
    local is_covered = false
    for _, own in ipairs(lock.r) do
      is_covered = is_covered or covers(own, resource)
    end
    if not is_covered then
      return { refused = { refused = 'not_covered', token = ask.T, resource = resource, mode = ask.m } }
    end
  end
  if lock.m == 'shared' and ask.m ~= 'shared' then
    return { refused = { refused = 'not_covered', token = ask.T, resource = ask.r[1], mode = ask.m } }
  end
  lock.d = lock.d + 1
  lock.u = math.max(lock.u, now + ask.t)
  put(lock)
  return answer(lock)
end

local operations = {}

function operations.acquire(ask)
  if ask.T then
    return enter(ask)
  end
  if micros % 64 == 0 then
    -- What nobody asks for any more is over some day too.
    for _, id in ipairs(redis.call('HRANDFIELD', KL, 8)) do
      local old = row(id)
      if old and old.s ~= 'g' and is_over(old) then
        settle(old.r)
      end
    end
  end
  local here = overlapping(ask.r)
  if #here > 0 then
    settle(ask.r)
    here = overlapping(ask.r)
  end
  local waiting, newest = 0, 0
  for _, other in ipairs(here) do
    if other.s == 'w' then
      waiting = waiting + 1
      newest = math.max(newest, other.a)
    end
  end
  local asked = math.max(now, newest)
  local lock = {
    i = next_number(), r = ask.r, m = ask.m, h = ask.h, H = ask.H, p = ask.p, t = ask.t,
    k = asked + ask.steps, a = asked, w = now, wk = ask.wk,
    s = 'w', al = now + WAITER_LEASE, gu = now + ask.wait,
  }
  local by = #here > 0 and blockers(lock) or {}
  if #by == 0 then
    grant(lock, ask.t, false)
    break_circles(lock.h)
    return { lock = lock }
  end
  if ask.wait == 0 then
    return refuse({ refused = 'busy', by = by })
  end
  if waiting >= WAITERS_MAX then
    return refuse({ refused = 'queue_full', resource = by[1].resource, waiting = waiting })
  end
  insert(lock)
  count('conflicts', 1)
  break_circles(lock.h)
  local after = row(lock.i)
  if not after then
    return { refused = { refused = 'not_waiting' } }
  end
  if after.s == 'g' then
    return { refused = { refused = 'deadlock', cycle = after.y.cycle } }
  end
  return answer(after)
end

function operations.look(ask)
  local lock = row(ask.i)
  if not lock then
    return { refused = { refused = 'not_waiting' } }
  end
  if lock.s == 'h' then
    return operations.renew({ T = lock.T, t = lock.t })
  end
  if lock.s == 'g' then
    drop(lock)
    if lock.y.why == 'deadlock' then
      return { refused = { refused = 'deadlock', cycle = lock.y.cycle } }
    end
    return { refused = { refused = 'not_waiting', why = lock.y } }
  end
  if is_over(lock) then
    local timed_out = lock.gu <= now
    local by = timed_out and blockers(lock) or {}
    local waited = math.max(0, now - lock.a)
    leave_queue(lock, timed_out)
    settle(lock.r)
    if not timed_out then
      return { refused = { refused = 'not_waiting' } }
    end
    return { refused = { refused = 'timed_out', waited_millis = waited, by = #by > 0 and by or nil } }
  end
  lock.al = now + WAITER_LEASE
  lock.wk = ask.wk or lock.wk
  put(lock)
  settle(lock.r)
  local after = row(ask.i)
  if not after then
    return { refused = { refused = 'not_waiting' } }
  end
  return answer(after)
end

function operations.leave(ask)
  local lock = row(ask.i)
  if not lock then
    return { done = false }
  end
  local was_there = lock.s ~= 'g'
  if lock.s == 'w' then
    leave_queue(lock, false)
  elseif lock.s == 'h' then
    hold(now - lock.si)
    count('released', 1)
    drop(lock)
  else
    drop(lock)
  end
  settle(lock.r)
  return { done = was_there }
end

function operations.renew(ask)
  local lock, refused, known = held(ask.T)
  if not lock then
    if known then
      settle(known.r)
    end
    return refused
  end
  lock.t = ask.t or lock.t
  lock.u = now + lock.t
  put(lock)
  return { lock = lock }
end

function operations.check(ask)
  local lock, refused = held(ask.T)
  return lock and { lock = lock } or refused
end

function operations.release(ask)
  local lock, refused, known = held(ask.T)
  if not lock then
    if known then
      settle(known.r)
    end
    return refused
  end
  local is_other = false
  if ask.r then
    is_other = true
    for _, own in ipairs(lock.r) do
      is_other = is_other and own ~= ask.r
    end
  end
  if is_other or (ask.h and (ask.h ~= lock.h or ask.f ~= lock.H.fence)) then
    return { refused = { refused = 'not_yours', token = ask.T, holder = lock.H, resources = lock.r } }
  end
  if lock.d > 1 then
    lock.d = lock.d - 1
    put(lock)
    return { left = lock.d }
  end
  hold(now - lock.si)
  count('released', 1)
  drop(lock)
  settle(lock.r)
  return { left = 0 }
end

local function take_all(locks, why)
  local taken, freed = {}, {}
  for _, lock in ipairs(locks) do
    taken[#taken + 1] = cjson.decode(cjson.encode(lock))
    append(freed, lock.r)
    take_away(lock, why)
  end
  settle(freed)
  return { locks = #taken > 0 and taken or nil }
end

function operations.force(ask)
  settle({ ask.r })
  local hit = {}
  for _, lock in ipairs(overlapping({ ask.r })) do
    local is_on_it = false
    for _, own in ipairs(lock.r) do
      is_on_it = is_on_it or own == ask.r
    end
    if lock.s == 'h' and is_on_it then
      hit[#hit + 1] = lock
    end
  end
  return take_all(hit, { why = 'forced', by = ask.by })
end

function operations.cleanup(ask)
  local hit = {}
  for _, lock in ipairs(with_holder(ask.h)) do
    if lock.s ~= 'g' then
      hit[#hit + 1] = lock
    end
  end
  return take_all(hit, { why = 'forced', by = ask.by })
end

function operations.all()
  local locks = {}
  for _, text in ipairs(redis.call('HVALS', KL)) do
    local lock = cjson.decode(text)
    if lock.s ~= 'g' then
      locks[#locks + 1] = lock
    end
  end
  local totals, kept = {}, redis.call('HGETALL', KS)
  for at = 1, #kept, 2 do
    totals[kept[at]] = tonumber(kept[at + 1])
  end
  return { locks = #locks > 0 and locks or nil, totals = next(totals) and totals or nil }
end

local reply = operations[ARGV[1]](args)
for name, by in pairs(counted) do
  if by > 0 then
    redis.call('HINCRBY', KS, name, string.format('%.0f', by))
  end
end
for name, value in pairs(longest) do
  if value > tonumber(redis.call('HGET', KS, name) or '0') then
    redis.call('HSET', KS, name, string.format('%.0f', value))
  end
end
reply.now = now
return cjson.encode(reply)
