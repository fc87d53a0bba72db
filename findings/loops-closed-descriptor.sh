#!/bin/sh
# A descriptor that is closed while a loop watches it: five loops use up a processor without a word, one calls
# the callback for ever, and one does nothing.
#
# close on a handle that is still watched is a mistake that is easily made: the watch belongs to one part of a
# program and the handle to another. AnyEvent 7.17 without EV, IO::Async 0.802 (Poll and Select), Glib 1.3293
# and POE 1.370 wait no more: poll or select returns at once each time, for a descriptor that is none, and no
# callback is called, so that nothing is in any log. Mojo::Reactor::Poll 9.31 calls the callback again and
# again. EV 4.33 forgets the watch. Remedy: end the watch first; where that is not in one's hands, give the
# loop a duplicate of the descriptor, which it alone closes.
#
# Debian 12's packages, unpacked in a temporary folder and run there by the perl that is here. Needs apt, perl
# 5.36 of Debian 12 and its libglib2.0-0. A loop is busy here if it uses a twentieth of its time; those that
# are use most of it, the others next to nothing.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
for package in libev-perl=4.33-2 libcommon-sense-perl=3.75-3 libanyevent-perl=7.170-2+b3 \
    libio-async-perl=0.802-1 libfuture-perl=0.49-1 libstruct-dumb-perl=0.14-1 libglib-perl=3:1.329.3-2+b2 \
    libmojolicious-perl=9.31+dfsg-1 libpoe-perl=2:1.3700-1; do
    apt-get -q download "$package" >log 2>&1 || { tail -3 log; exit 2; }
done
for package in *.deb; do dpkg-deb -x "$package" root; done

cat >show.pl <<'PERL'
use strict;
use warnings;
use Time::HiRes ();

my $SECONDS = 0.5;
my ($name) = @ARGV;
pipe my $read, my $write or die $!;
my ($calls, @kept) = (0);
my $called = sub { $calls++ };

# Watches, and returns what runs the loop for the seconds given.
my %LOOP = (
    EV => sub {
        require EV;
        push @kept, EV::io($read, EV::READ(), $called);
        return sub { my $timer = EV::timer(shift, 0, sub { EV::break() }); EV::run(); };
    },
    AnyEvent => sub {
        $ENV{PERL_ANYEVENT_MODEL} = 'Perl';
        require AnyEvent;
        push @kept, AnyEvent->io(fh => $read, poll => 'r', cb => $called);
        return sub {
            my $over  = AnyEvent->condvar;
            my $timer = AnyEvent->timer(after => shift, cb => sub { $over->send });
            $over->recv;
        };
    },
    'IO::Async::Loop::Poll'   => sub { return io_async('Poll') },
    'IO::Async::Loop::Select' => sub { return io_async('Select') },
    'Mojo::Reactor::Poll'     => sub {
        require Mojo::Reactor::Poll;
        my $reactor = Mojo::Reactor::Poll->new;
        $reactor->io($read => $called)->watch($read, 1, 0);
        return sub { $reactor->timer(shift, sub { $reactor->stop }); $reactor->start };
    },
    Glib => sub {
        require Glib;
        Glib::IO->add_watch(fileno $read, ['in'], sub { $called->(); 1 });
        return sub {
            my $main = Glib::MainLoop->new;
            Glib::Timeout->add(1000 * shift, sub { $main->quit; 0 });
            $main->run;
        };
    },
    POE => sub {
        require POE;
        POE->import;
        my $kernel = POE::Kernel->new;
        POE::Session->create(inline_states => {
            _start => sub { $kernel->select_read($read, 'ready'); $kernel->delay(tick => 0.05) },
            ready  => $called,
            tick   => sub { $kernel->delay(tick => 0.05) },
        });
        return sub {
            my $end = Time::HiRes::time() + shift;
            $kernel->run_one_timeslice while Time::HiRes::time() < $end;
        };
    },
);

# Reading it is enough for Mojolicious, which wants more than its loop if it is loaded.
sub version {
    return $name->VERSION if $name !~ /^Mojo/;
    my ($file) = grep { -e } map { "$_/Mojolicious.pm" } @INC;
    open my $fh, '<', $file or die "$file: $!";
    return (map { /VERSION += '([\d.]+)'/ ? $1 : () } <$fh>)[0];
}

sub io_async {
    my $class = 'IO::Async::Loop::' . shift;
    eval "require $class" or die $@;
    my $loop = $class->new;
    $loop->watch_io(handle => $read, on_read_ready => $called);
    return sub { $loop->watch_time(after => shift, code => sub { $loop->stop }); $loop->run };
}

my $run = $LOOP{$name}->();
$run->(0.1);
close $read;
my $before = (times)[0] + (times)[1];
$run->($SECONDS);
my $used = (times)[0] + (times)[1] - $before;
printf "%-24s %-8s %s, %s\n", $name, version(), $used > $SECONDS / 20 ? 'busy' : 'idle',
    $calls > 1 ? 'called again and again' : $calls ? 'called once' : 'not called';
PERL
export PERL5LIB="$tmp/root/usr/share/perl5:$tmp/root/usr/lib/x86_64-linux-gnu/perl5/5.36"
for loop in EV AnyEvent IO::Async::Loop::Poll IO::Async::Loop::Select Mojo::Reactor::Poll Glib POE; do
    perl show.pl "$loop" 2>errors || { cat errors; exit 1; }
done | tee said

grep -q '^EV  *4\.33  *idle, not called$' said
grep -q '^AnyEvent  *7\.17  *busy, not called$' said
grep -q '^IO::Async::Loop::Poll  *0\.802  *busy, not called$' said
grep -q '^IO::Async::Loop::Select  *0\.802  *busy, not called$' said
grep -q '^Mojo::Reactor::Poll  *9\.31  *.*called again and again$' said
grep -q '^Glib  *1\.3293  *busy, not called$' said
grep -q '^POE  *1\.370  *busy, not called$' said
echo "as described"
