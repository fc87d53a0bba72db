# The programs of the cookbook do what their comments say. Each is run as its user would, on a port that the
# system chooses.
use strict;
use warnings;

use Config;
use File::Spec;
use File::Temp ();
use IPC::Open2 qw(open2);
use Test::More;

plan skip_all => 'the examples are not here' if !-e 'examples/chat.pl';

my $dir = File::Temp::tempdir(CLEANUP => 1);
my %running;
$SIG{PIPE} = 'IGNORE';
$SIG{ALRM} = sub { die "the recipes took too long\n" };
alarm($ENV{EASYTCP_TEST_DEADLINE} || 600);
END { local $?; kill KILL => keys %running if %running }

# Starts a recipe; its standard output and input are handles of the result.
sub start_recipe {
    my ($name, @arguments) = @_;
    my $pid = open2(my $out, my $in, $^X, (map { "-I$_" } @INC), "examples/$name.pl", @arguments);
    $running{$pid} = 1;
    return { pid => $pid, out => $out, in => $in };
}

sub start_server {
    my $recipe = start_recipe(@_);
    ($recipe->{port}) = line($recipe) =~ /^Listening on port (\d+)$/ or BAIL_OUT("$_[0] does not listen");
    return $recipe;
}

sub line {
    my $recipe = shift;
    my $line   = readline $recipe->{out};
    chomp $line if defined $line;
    return defined $line ? $line : '(the end)';
}

sub say_to {
    my ($recipe, $text) = @_;
    syswrite $recipe->{in}, "$text\n";
    return;
}

sub client_of {
    my $recipe = shift;
    require Net::EasyTCP;
    return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $recipe->{port}) || die $@;
}

sub free_port {
    require IO::Socket::INET;
    my $probe = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "Cannot listen: $!";
    return $probe->sockport;
}

# Waits for the recipe to end by itself, or by a signal that it is sent.
sub end_of {
    my ($recipe, $signal) = @_;
    kill $signal => $recipe->{pid} if $signal;
    close $recipe->{in};
    waitpid $recipe->{pid}, 0;
    delete $running{ $recipe->{pid} };
    return $?;
}

{
    my $server = start_server('chat', 'server', '00');
    my $anna   = start_recipe('chat', 'Anna', '127.0.0.1', $server->{port});
    is(line($anna), 'Welcome, Anna', 'chat: the first is there');
    my $bert = start_recipe('chat', 'Bert', '127.0.0.1', $server->{port});
    is(line($bert), 'Welcome, Bert', 'chat: the second, too');
    is(line($anna), 'Bert has come', 'chat: who comes is announced');
    say_to($bert, 'hello');
    is(line($anna), 'Bert: hello', 'chat: what one writes, the other reads');
    say_to($anna, "hi\nand how are you?");
    is(line($bert), 'Anna: hi', 'chat: an answer');
    is(line($bert), 'Anna: and how are you?', 'chat: of two lines');
    say_to($anna, '/join kitchen');
    is(line($anna), 'You are in kitchen', 'chat: another room');
    is(line($bert), 'Anna has left', 'chat: those in the first are told');
    say_to($anna, 'anybody here?');
    say_to($bert, '/join kitchen');
    is(line($bert), 'You are in kitchen', 'chat: what is said in one room is not heard in another');
    is(line($anna), 'Bert has come', 'chat: those in the second are told');
    is(end_of($bert), 0, 'chat: the end of the input ends a client');
    is(line($anna), 'Bert has left', 'chat: and the others are told');
    end_of($server, 'TERM');
    is(line($anna), '(the end)', 'chat: without a server a client ends');
    is(end_of($anna), 0, 'chat: well');
}

{
    my $queue = start_server('jobs', 'queue', '00');
    my @workers = map { start_recipe('jobs', 'worker', '127.0.0.1', $queue->{port}) } 1 .. 2;
    is(line($_), 'Ready', 'jobs: a worker is ready') for @workers;
    my @submitted = map { start_recipe('jobs', 'submit', $_, '127.0.0.1', $queue->{port}) } 10, 100, 1000;
    is_deeply([ map { line($_) } @submitted ], [ map { "The result is $_" } 55, 5050, 500500 ],
        'jobs: all are done');
    end_of($_) for @submitted;
    end_of($_, 'TERM') for @workers;
    my $late = start_recipe('jobs', 'submit', 3, '127.0.0.1', $queue->{port});
    my $worker = start_recipe('jobs', 'worker', '127.0.0.1', $queue->{port});
    is(line($late), 'The result is 6', 'jobs: one that waits for a worker is done, too');
    end_of($late);
    end_of($_, 'TERM') for $worker, $queue;
}

{
    mkdir "$dir/in" or die $!;
    my $receiver = start_server('file-transfer', 'receive', "$dir/in", '00');
    my $data = join '', map { chr(($_ * 7) % 251) } 1 .. 600_000;
    my %content = ('large.bin' => $data, 'empty.txt' => '');
    foreach my $name (sort keys %content) {
        open my $fh, '>', "$dir/$name" or die $!;
        binmode $fh;
        print {$fh} $content{$name};
        close $fh;
        my $sender = start_recipe('file-transfer', 'send', "$dir/$name", '127.0.0.1', $receiver->{port});
        my $said = join '', readline $sender->{out};
        is(end_of($sender), 0, "file transfer: $name is sent");
        like($said, qr/\r${\ length $content{$name}} bytes sent\n\z/,
            "file transfer: $name, and shown to be");
        is(line($receiver), "Received $dir/in/$name", "file transfer: $name has come");
        open $fh, '<', "$dir/in/$name" or die $!;
        binmode $fh;
        my $copy = do { local $/ = undef; <$fh> };
        ok((defined $copy ? $copy : '') eq $content{$name}, "file transfer: $name, as it was");
    }
    open my $fh, '>', "$dir/no name.txt" or die $!;
    close $fh;
    open my $stderr, '>&', \*STDERR or die $!;
    open STDERR, '>', File::Spec->devnull or die $!;
    my $sender = start_recipe('file-transfer', 'send', "$dir/no name.txt", '127.0.0.1', $receiver->{port});
    open STDERR, '>&', $stderr or die $!;
    isnt(end_of($sender), 0, 'file transfer: a refused file ends the sender with a status');
    end_of($receiver, 'TERM');
}

{
    my $server = start_server('request-reply', 'server', '00');
    my $client = start_recipe('request-reply', 'client', '127.0.0.1', $server->{port});
    is(line($client), $_, "request and reply: $_")
        for '1 + 2 + 3: 6', 'backwards: nalp a nam a', 'nonsense: no such method';
    is(end_of($client), 0, 'request and reply: the client ends well');
    end_of($server, 'TERM');
}

SKIP: {
    skip 'IO::Async is not installed', 4 if !eval { require IO::Async::Loop; require Future; 1 };
    my $server = start_server('request-reply', 'server', '00');
    my $client = start_recipe('io-async-requests', '127.0.0.1', $server->{port});
    is(line($client), $_, "IO::Async: $_") for 'All: one two three', 'Sum: 6',
        'Dance: it failed: no such method';
    is(end_of($client), 0, 'IO::Async: the client ends well');
    end_of($server, 'TERM');
}

SKIP: {
    skip 'Mojolicious is not installed', 4
        if !eval { require Mojolicious; require Mojo::UserAgent; Mojolicious->VERSION(8); 1 };
    my $server = start_server('request-reply', 'server', '00');
    local $ENV{EASYTCP_PORT} = $server->{port};
    local $ENV{MOJO_LOG_LEVEL} = 'fatal';
    my $url   = 'http://127.0.0.1:' . free_port();
    my $app   = start_recipe('mojo-requests', 'daemon', '-l', $url);
    my $agent = Mojo::UserAgent->new;
    wait_until(sub { $agent->get("$url/nothing")->res->code });
    is($agent->get("$url/add?n=1&n=2")->result->body, "3\n", 'Mojo: one');
    is($agent->get("$url/reverse/olleh")->result->body, "hello\n", 'Mojo: another');
    like($agent->get("$url/both/olleh")->result->body, qr/^hello at \d+$/, 'Mojo: two at once');
    end_of($server, 'TERM');
    my $lost = $agent->get("$url/add?n=1")->result;
    is($lost->code, 502, 'Mojo: without a server');
    end_of($app, 'TERM');
}

{
    my $echo = start_server('echo-server', '00');
    my $free = free_port();
    my ($one, $two) = map { "127.0.0.1:$_" } $echo->{port}, $free;
    my $clients = start_recipe('async-clients', $one, $two);
    my @said = sort map { line($clients) } 1 .. 3;
    is_deeply(\@said, [ sort "$one up", "$one answers 'how are you'", "$two down" ],
        'async clients: one server is up, the other one is not');
    my $late = start_server('echo-server', $free);
    is_deeply([ map { line($clients) } 1, 2 ], [ "$two up", "$two answers 'how are you'" ],
        'async clients: the other one has come');
    end_of($echo, 'KILL');
    my $last;
    1 while ($last = line($clients)) =~ /does not answer/;    # what was asked just then
    is($last, "$one down", 'async clients: and the first one has gone');
    end_of($_, 'TERM') for $clients, $late;
}

# A pid that is no child of ours has ended when it cannot be signalled any more.
sub wait_until {
    my $what = shift;
    select undef, undef, undef, 0.05 until $what->();
    return 1;
}

sub content {
    my $file = shift;
    open my $fh, '<', $file or return '';
    local $/ = undef;
    my $text = <$fh>;
    return defined $text ? $text : '';
}

{
    my ($pid_file, $log) = ("$dir/daemon.pid", "$dir/daemon.log");
    my $daemon = start_server('daemon', $pid_file, $log, '00');
    is(end_of($daemon), 0, 'daemon: who has started it goes on');
    wait_until(sub { content($log) =~ /started as \d+$/m });
    my ($pid) = content($pid_file) =~ /^(\d+)$/;
    $running{$pid} = 1;
    my $client = client_of($daemon);
    $client->send('hello') or die $@;
    is($client->receive, 'hello', 'daemon: it serves');
    kill USR1 => $pid;
    ok(wait_until(sub { content($log) =~ /connected: 127\.0\.0\.1$/m }),
        'daemon: USR1 lists who is connected');
    rename $log, "$log.1";
    kill HUP => $pid;
    ok(wait_until(sub { content($log) =~ /opened the log anew/ }), 'daemon: HUP opens the log anew');
    kill TERM => $pid;
    ok(wait_until(sub { !-e $pid_file }), 'daemon: TERM ends it');
    like(content($log), qr/ended$/, 'daemon: and it says so');
    delete $running{$pid};
}

{
    my $server = start_server('select-loop', '00', 1);
    my $client = client_of($server);
    $client->send('hello') or die $@;
    my @got;
    push @got, $client->receive until @got && $got[-1] =~ /^It is/;
    is((grep { $_ eq '5 bytes' } @got)[0], '5 bytes', 'select loop: it serves');
    say_to($server, 'dinner is ready');
    push @got, $client->receive until $got[-1] eq 'dinner is ready';
    pass('select loop: it reads its input');
    ok((grep { /^It is \w/ } @got), 'select loop: and it has a timer');
    is(end_of($server), 0, 'select loop: the end of the input ends it');
    is(line($server), 'Stopped', 'select loop: and it says so');
}

{
    my $old = start_recipe('rolling-restart', '00', 1);
    my ($port, $pid) = line($old) =~ /^Listening on port (\d+) as (\d+)$/ or BAIL_OUT('no rolling restart');
    my $client = client_of({ port => $port });
    $client->send('PID') or die $@;
    is($client->receive, $pid, 'rolling restart: it serves');
    kill HUP => $pid;
    my ($new_port, $new_pid) = line($old) =~ /^Listening on port (\d+) as (\d+)$/;
    is($new_port, $port, 'rolling restart: the new process has the same port');
    isnt($new_pid, $pid, 'rolling restart: and is another one');
    $running{$new_pid} = 1 if $new_pid;
    is(line($old), "Ended as $pid", 'rolling restart: the old one ends');
    is($client->receive(60), undef, 'rolling restart: and closes its clients');
    $client = client_of({ port => $port });
    $client->send('PID') or die $@;
    is($client->receive, $new_pid, 'rolling restart: new clients meet the new one');
    is(end_of($old), 0, 'rolling restart: the old one ended well');
    kill TERM => $new_pid;
    ok(wait_until(sub { !kill 0 => $new_pid }), 'rolling restart: TERM ends the new one');
    delete $running{$new_pid};
}

SKIP: {
    skip 'this perl has no threads', 2 unless $Config{useithreads};
    my $recipe = start_recipe('threads', 3, 50);
    is(line($recipe), '3 threads got 150 right answers', 'threads: each has a connection of its own');
    is(end_of($recipe), 0, 'threads: and ends well');
}

done_testing();
