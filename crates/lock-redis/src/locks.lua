-- The locks of one namespace: every operation is one call of this script, decided in the server's time.
-- What is granted to whom is what `domain::lock` says; the names here are those of its rows.
--
-- KEYS[1] is the prefix of every key:
--   l  hash: id -> row                  t  hash: token -> id, where the token is not the id
--   d:PATH  sorted set: who holds it    q:PATH  sorted set: who waits for it, by rank
--   p  sorted set of the paths that have either
--   h  sorted set of "holder\0id"       e  sorted set of ids, by when they are over
--   n  the last number that was given   s  hash: totals
-- ARGV: the operation, its arguments as JSON, and a time after which it must not be carried out (or 0).
--
-- Numbers of requests and grants are texts of 16 digits: they are more than a JSON encoder here keeps,
-- and their order is that of their texts. What an operation reads does not grow with the queue, but where
-- somebody waits for what waits for him.

local P = KEYS[1]
local KL, KT, KP, KH, KE, KN, KS = P .. 'l', P .. 't', P .. 'p', P .. 'h', P .. 'e', P .. 'n', P .. 's'
local D, Q = P .. 'd:', P .. 'q:'
local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(micros / 1000)
local args = cjson.decode(ARGV[2])
local WAITER_LEASE, GONE_KEPT, WAITERS_MAX, TOLD_MAX = 5000, 60000, 1000, 16

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
  local over = lock.s == 'w' and math.min(lock.al, lock.gu) or lock.u
  redis.call('ZADD', KE, over, lock.i)
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

local function list_as_held(lock)
  for _, resource in ipairs(lock.r) do
    local path = path_of(resource)
    redis.call('ZADD', D .. path, 0, lock.i)
    redis.call('ZADD', KP, 0, path)
  end
end

local function list_as_waiting(lock)
  for _, resource in ipairs(lock.r) do
    local path = path_of(resource)
    redis.call('ZADD', Q .. path, lock.k, lock.i)
    redis.call('ZADD', KP, 0, path)
  end
end

-- Takes it off the lists of its paths, while its state is still the one that it is listed with.
local function unlist(lock, goes_on)
  if lock.s == 'g' then
    return
  end
  for _, resource in ipairs(lock.r) do
    local path = path_of(resource)
    redis.call('ZREM', (lock.s == 'h' and D or Q) .. path, lock.i)
    if not goes_on and redis.call('EXISTS', D .. path, Q .. path) == 0 then
      redis.call('ZREM', KP, path)
    end
  end
end

local function drop(lock)
  unlist(lock, false)
  rows[lock.i] = false
  redis.call('HDEL', KL, lock.i)
  redis.call('ZREM', KE, lock.i)
  redis.call('ZREM', KH, lock.h .. '\0' .. lock.i)
  if lock.T and lock.T ~= lock.i then
    redis.call('HDEL', KT, lock.T)
  end
end

local function before(a, b)
  if a.k ~= b.k then
    return a.k < b.k
  end
  return a.i < b.i
end

-- The paths on whose lists something may overlap these.
local function places(resources)
  local found, list = {}, {}
  local function add(path)
    if not found[path] then
      found[path] = true
      list[#list + 1] = path
    end
  end
  for _, resource in ipairs(resources) do
    local path, is_tree = path_of(resource)
    local above = path
    while above do
      add(above)
      above = string.match(above, '^(.*)/[^/]*$')
    end
    if is_tree then
      for _, beneath in ipairs(redis.call('ZRANGEBYLEX', KP, '[' .. path .. '/', '(' .. path .. '0')) do
        add(beneath)
      end
    end
  end
  return list
end

-- Those that are held, of which something is part of one of these; oldest first.
local function held_on(resources)
  local found, here = {}, {}
  for _, path in ipairs(places(resources)) do
    for _, id in ipairs(redis.call('ZRANGE', D .. path, 0, -1)) do
      local lock = not found[id] and row(id)
      found[id] = true
      if lock and any_overlap(lock.r, resources) then
        here[#here + 1] = lock
      end
    end
  end
  table.sort(here, function(a, b) return a.i < b.i end)
  return here
end

-- Shows those that wait, of which something is part of one of these, in the order of the queue from a
-- rank on, until one of them is enough.
local function each_waiting(resources, from, visit)
  local queues = {}
  for _, path in ipairs(places(resources)) do
    if redis.call('EXISTS', Q .. path) == 1 then
      queues[#queues + 1] = Q .. path
    end
  end
  local seen = {}
  local function show(id)
    if seen[id] then
      return false
    end
    seen[id] = true
    local lock = row(id)
    return lock and lock.s == 'w' and any_overlap(lock.r, resources) and visit(lock)
  end
  if #queues == 1 then
    -- Most often the first few are enough.
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', queues[1], from, '+inf', 'LIMIT', 0, 16)) do
      if show(id) then
        return
      end
    end
    if redis.call('ZCARD', queues[1]) < 16 then
      return
    end
  end
  local all = {}
  for _, queue in ipairs(queues) do
    local found = redis.call('ZRANGEBYSCORE', queue, from, '+inf', 'WITHSCORES')
    for at = 1, #found, 2 do
      all[#all + 1] = { i = found[at], k = tonumber(found[at + 1]) }
    end
  end
  table.sort(all, before)
  for _, one in ipairs(all) do
    if show(one.i) then
      return
    end
  end
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

-- Who is in the way, holders first; at most so many.
local function in_the_way(lock, most)
  local found = {}
  for _, other in ipairs(held_on(lock.r)) do
    if #found < most and other.i ~= lock.i and not is_over(other) and is_against(other, lock) then
      found[#found + 1] = other
    end
  end
  if #found >= most then
    return found
  end
  each_waiting(lock.r, '-inf', function(other)
    if not before(other, lock) then
      return true
    end
    if other.i ~= lock.i and not is_over(other) and is_against(other, lock) then
      found[#found + 1] = other
    end
    return #found >= most
  end)
  return found
end

local function blockers(lock)
  local by = {}
  for _, other in ipairs(in_the_way(lock, TOLD_MAX)) do
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
  if has_waited then
    unlist(lock, true)
    lock.T = next_number()
    redis.call('HSET', KT, lock.T, lock.i)
  else
    lock.T = lock.i
    redis.call('ZADD', KH, 0, lock.h .. '\0' .. lock.i)
  end
  lock.s, lock.d, lock.u, lock.si = 'h', 1, now + lease, now
  lock.wm = has_waited and math.max(0, now - lock.a) or 0
  lock.al, lock.gu = nil, nil
  put(lock)
  list_as_held(lock)
  count('granted', 1)
  if has_waited then
    count('waited', 1)
    count('wait_millis', lock.wm)
    at_most('longest_wait_millis', lock.wm)
    wake(lock)
  end
end

local function take_away(lock, why)
  if lock.s == 'h' then
    hold(now - lock.si)
  end
  unlist(lock, false)
  lock.s, lock.y, lock.u = 'g', why, now + GONE_KEPT
  put(lock)
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

-- Whether nobody else can have any of these beside it.
local function closes(lock, resources)
  if lock.m == 'shared' then
    return false
  end
  for _, resource in ipairs(resources) do
    local is_covered = false
    for _, own in ipairs(lock.r) do
      is_covered = is_covered or covers(own, resource)
    end
    if not is_covered then
      return false
    end
  end
  return true
end

-- Grants in the order of the queue. Whoever is passed over stays before those behind.
local function grant_what_is_free(resources)
  local held = held_on(resources)
  for _, lock in ipairs(held) do
    if closes(lock, resources) then
      return
    end
  end
  local ahead = {}
  each_waiting(resources, '-inf', function(lock)
    local is_behind = false
    for _, other in ipairs(held) do
      is_behind = is_behind or is_against(other, lock)
    end
    for _, other in ipairs(ahead) do
      is_behind = is_behind or is_against(other, lock)
    end
    if not is_behind and #in_the_way(lock, 1) == 0 then
      grant(lock, math.min(lock.t, WAITER_LEASE), true)
      held[#held + 1] = lock
    else
      ahead[#ahead + 1] = lock
    end
    return closes(lock, resources)
  end)
end

-- Ends what is over, wherever it is, and grants what that frees.
local function sweep()
  while true do
    local over = redis.call('ZRANGEBYSCORE', KE, '-inf', now, 'LIMIT', 0, 64)
    if #over == 0 then
      break
    end
    local freed = {}
    for _, id in ipairs(over) do
      local lock = row(id)
      if not lock then
        redis.call('ZREM', KE, id)
      else
        if lock.s ~= 'g' then
          freed[#freed + 1] = lock.r
        end
        if lock.s == 'h' then
          take_away(lock, { why = 'expired' })
        elseif lock.s == 'w' then
          leave_queue(lock, lock.gu <= now)
        else
          drop(lock)
        end
      end
    end
    for _, free in ipairs(freed) do
      grant_what_is_free(free)
    end
  end
end

-- The same, and grants what is free here.
local function settle(resources)
  sweep()
  grant_what_is_free(resources)
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
  local lock = row(token)
  if not lock or lock.T ~= token then
    local id = redis.call('HGET', KT, token)
    lock = id and row(id)
  end
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
  local locks = {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', KH, '[' .. holder .. '\0', '(' .. holder .. '\1')) do
    local lock = row(string.match(member, '%z(%d+)$'))
    if lock and lock.h == holder then
      locks[#locks + 1] = lock
    end
  end
  table.sort(locks, function(a, b) return a.i < b.i end)
  return locks
end

-- Follows what `lock` waits for until that leads back to `start`; then `path` is the circle.
local function walk(lock, start, seen, path)
  if seen[lock.i] then
    return false
  end
  seen[lock.i] = true
  for _, other in ipairs(in_the_way(lock, math.huge)) do
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

-- Whether anybody waits for one of these, which are one holder's.
local function is_awaited(locks)
  local found = false
  for _, lock in ipairs(locks) do
    if not found and lock.s ~= 'g' then
      each_waiting(lock.r, lock.s == 'w' and lock.k or '-inf', function(other)
        local is_after = lock.s == 'h' or before(lock, other)
        found = other.h ~= lock.h and is_after and is_against(lock, other)
        return found
      end)
    end
  end
  return found
end

-- Refuses requests until a holder is in no circle, which may hit its newest one. A circle closes
-- through what a holder waits for, or through another request of it that has come to stand in
-- somebody's way.
local function break_circles(holder)
  while true do
    local path
    local own = with_holder(holder)
    if #own == 0 or not is_awaited(own) then
      return
    end
    for _, lock in ipairs(own) do
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
      if step.lock.p < worst.p or (step.lock.p == worst.p and step.lock.i > worst.i) then
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
  sweep()
  local id = next_number()
  -- Nobody comes before who came before, also where the clock was set back.
  local asked = math.max(now, math.floor(last / 1000))
  local lock = {
    i = id, r = ask.r, m = ask.m, h = ask.h, H = ask.H, p = ask.p, t = ask.t,
    k = asked + ask.steps, a = asked, w = now, wk = ask.wk,
    s = 'w', al = now + WAITER_LEASE, gu = now + ask.wait,
  }
  local by = blockers(lock)
  if #by == 0 then
    grant(lock, ask.t, false)
    if redis.call('ZLEXCOUNT', KH, '[' .. lock.h .. '\0', '(' .. lock.h .. '\1') > 1 then
      break_circles(lock.h)
    end
    return { lock = lock }
  end
  if ask.wait == 0 then
    return refuse({ refused = 'busy', by = by })
  end
  local waiting = 0
  for _, path in ipairs(places(ask.r)) do
    waiting = waiting + redis.call('ZCARD', Q .. path)
  end
  if waiting >= WAITERS_MAX then
    return refuse({ refused = 'queue_full', resource = by[1].resource, waiting = waiting })
  end
  put(lock)
  redis.call('ZADD', KH, 0, lock.h .. '\0' .. lock.i)
  list_as_waiting(lock)
  count('conflicts', 1)
  break_circles(lock.h)
  local after = row(lock.i)
  if not after then
    return { refused = { refused = 'not_waiting' } }
  end
  if after.s == 'g' then
    return { refused = { refused = 'deadlock', cycle = after.y.cycle } }
  end
  return { lock = after, by = after.s == 'w' and by or nil }
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
  return ask.by and answer(after) or { lock = after }
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
  for _, lock in ipairs(held_on({ ask.r })) do
    local is_on_it = false
    for _, own in ipairs(lock.r) do
      is_on_it = is_on_it or own == ask.r
    end
    if is_on_it then
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
